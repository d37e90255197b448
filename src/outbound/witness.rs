//! The witness of seals: a server of somebody else's, which keeps what it is sent.

use std::fmt;
use std::time::Duration;

use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, StatusCode, Url};
use secrecy::{ExposeSecret as _, SecretString};

use super::client::{http_client, parse_url, unavailable};
use super::{OutboundError, SetupError};

/// Nobody waits for it, but the next seal.
const TIMEOUT: Duration = Duration::from_secs(5);

/// A client of one witness. Cheap to clone: clones share their connections.
#[derive(Clone)]
pub struct WitnessApi {
    client: Client,
    url: Url,
    token: Option<SecretString>,
}

impl fmt::Debug for WitnessApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the path: it may be what lets one in.
        write!(f, "WitnessApi({})", self.url.origin().ascii_serialization())
    }
}

impl WitnessApi {
    /// Takes the URL that seals are sent to, and the token that says who sends.
    ///
    /// # Errors
    /// [`SetupError`] for a URL or a token of no use.
    pub fn new(url: &str, token: Option<SecretString>) -> Result<Self, SetupError> {
        let header = |token: &SecretString| {
            let bytes = token.expose_secret().as_bytes();
            bytes.iter().all(u8::is_ascii_graphic)
        };
        if !token.as_ref().is_none_or(header) {
            return Err(SetupError::BadKey);
        }
        Ok(Self {
            client: http_client(TIMEOUT)?,
            url: parse_url(url).ok_or(SetupError::BadUrl)?,
            token,
        })
    }

    /// Where it sends.
    pub fn url(&self) -> &str {
        self.url.as_str()
    }

    /// `POST` of a JSON body, within 5 seconds. Done when any 2xx is answered; the body of the answer is not read.
    ///
    /// # Errors
    /// [`OutboundError`], for every other status, too.
    pub async fn tell(&self, json: Vec<u8>) -> Result<(), OutboundError> {
        let request = self.client.post(self.url.clone());
        let request = request.header(CONTENT_TYPE, "application/json").body(json);
        let request = match &self.token {
            Some(token) => request.bearer_auth(token.expose_secret()),
            None => request,
        };
        let status = request
            .send()
            .await
            .map_err(|error| unavailable(&error))?
            .status();
        match status {
            _ if status.is_success() => Ok(()),
            StatusCode::TOO_MANY_REQUESTS => Err(OutboundError::Unavailable("too many requests")),
            _ if status.is_server_error() => Err(OutboundError::Unavailable("server error")),
            _ => Err(OutboundError::Refused(status.as_u16())),
        }
    }
}

#[cfg(test)]
mod tests {
    use wiremock::matchers::{bearer_token, body_string, header, method, path, query_param};
    use wiremock::{Mock, MockServer, ResponseTemplate};

    use super::*;

    async fn told(answer: ResponseTemplate) -> Result<(), OutboundError> {
        let server = MockServer::start().await;
        Mock::given(method("POST"))
            .and(path("/seals"))
            .and(query_param("ledger", "1"))
            .and(bearer_token("sesame"))
            .and(header("content-type", "application/json"))
            .and(body_string("{}"))
            .respond_with(answer)
            .expect(1)
            .mount(&server)
            .await;
        let url = format!("{}/seals?ledger=1", server.uri());
        let witness = WitnessApi::new(&url, Some("sesame".into())).unwrap();
        witness.tell(b"{}".to_vec()).await
    }

    #[tokio::test]
    async fn any_2xx_is_a_yes_and_nothing_else_is() {
        for (status, expected) in [
            (200, Ok(())),
            (201, Ok(())),
            (204, Ok(())),
            (302, Err(OutboundError::Refused(302))),
            (401, Err(OutboundError::Refused(401))),
            (429, Err(OutboundError::Unavailable("too many requests"))),
            (500, Err(OutboundError::Unavailable("server error"))),
        ] {
            let answer = ResponseTemplate::new(status).insert_header("location", "/elsewhere");
            assert_eq!(told(answer).await, expected, "status {status}");
        }
    }

    #[test]
    fn settings_are_checked_and_not_shown() {
        let new = |url: &str, token: &str| WitnessApi::new(url, Some(token.into())).err();
        for url in ["https://w.example/a?b=c", "http://127.0.0.1:9/seals"] {
            assert_eq!(new(url, "sesame"), None, "{url}");
        }
        for url in [
            "",
            "w.example",
            "ftp://w.example",
            "https://me@w.example",
            "https://me:word@w.example",
            "https://w.example/#here",
        ] {
            assert_eq!(new(url, "sesame"), Some(SetupError::BadUrl), "{url}");
        }
        assert_eq!(new("https://w.example", "a b"), Some(SetupError::BadKey));
        let witness = WitnessApi::new("https://w.example/sesame", Some("sesame".into())).unwrap();
        assert_eq!(format!("{witness:?}"), "WitnessApi(https://w.example)");
    }
}
