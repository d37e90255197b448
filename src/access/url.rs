//! URLs of identity providers, from settings. Owns the rule that keys are only fetched where nobody can swap them.

use std::net::IpAddr;

use reqwest::Url;

use super::error::AccessError;

/// Reads the URL of an identity provider.
///
/// It must be `https`: who can change a key set in transit can sign for any user. Plain `http` is for this machine only
/// (the Supabase command line serves `http://127.0.0.1:54321`). User names, queries and fragments are refused.
pub(super) fn provider_url(setting: &'static str, text: &str) -> Result<Url, AccessError> {
    let refuse = |problem| AccessError::Url { setting, problem };
    let url = Url::parse(text.trim())
        .map_err(|_| refuse("is not a URL: it must look like https://host.example.com"))?;
    let Some(host) = url.host_str() else {
        return Err(refuse("has no host"));
    };
    match url.scheme() {
        "https" => {}
        "http" if is_this_machine(host) => {}
        _ => {
            return Err(refuse(
                "must begin with https:// (http:// is for this machine only)",
            ));
        }
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refuse("must not contain a user name or password"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(refuse("must not contain a query or a fragment"));
    }
    Ok(url)
}

/// The same URL as issuers write it: no slash at the end.
pub(super) fn without_slash(url: &Url) -> String {
    url.as_str().trim_end_matches('/').to_owned()
}

fn is_this_machine(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_https_or_this_machine() {
        for good in [
            "https://clerk.example.com",
            " https://a.b/ ",
            "http://127.0.0.1:54321",
            "http://[::1]:9",
            "http://localhost",
        ] {
            assert!(provider_url("X", good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "clerk.example.com",
            "http://clerk.example.com",
            "http://127.0.0.1.example.com",
            "ftp://localhost",
            "https://u:p@example.com",
            "https://example.com/?a=1",
            "https://example.com/#a",
            "data:text/plain,x",
        ] {
            assert!(provider_url("X", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn errors_do_not_repeat_the_value() {
        let error = provider_url("CLERK_JWKS_URL", "https://user:hunter2@example.com").unwrap_err();
        assert_eq!(
            error.to_string(),
            "CLERK_JWKS_URL must not contain a user name or password"
        );
    }
}
