//! `DATABASE_URL` into a connection. Owns what a URL may say; its errors never hold a part of it that could be a
//! secret.
//!
//! `sslmode`: `disable`; `prefer` (the default: no TLS only when the server offers none); `require`, `verify-ca`
//! and `verify-full`, which are all the same here, because rustls always verifies chain and name. `sslrootcert`: a
//! PEM file of the only certificates to trust, or `system` (the default); naming a file without a mode means
//! `require`. A server with a certificate of its own making therefore needs `sslrootcert`, or `sslmode=disable`.
//! Unix sockets never use TLS.

use std::path::PathBuf;

use tokio_postgres::{
    Config,
    config::{Host, SslMode},
};

use super::{error::PostgresError, tls::TrustedRoots};

/// A server and a database on it.
#[derive(Debug, Clone)]
pub(super) struct ParsedUrl {
    pub(super) config: Config,
    pub(super) database: String,
    /// `None`: TLS is never used.
    pub(super) roots: Option<TrustedRoots>,
}

/// Reads a `postgres://` or `postgresql://` URL.
pub(super) fn parse(url: &str) -> Result<ParsedUrl, PostgresError> {
    let refuse = |problem: &str| Err(PostgresError::Url(problem.to_owned()));
    if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
        return refuse("it must begin with postgres:// or postgresql://");
    }
    let (address, query) = split_query(url);
    if address.matches('@').count() > 1 {
        // The rest of such a URL may be a part of the password: say nothing of it.
        return refuse(
            "there is more than one @ in it; an @ in the user name or the password is written %40",
        );
    }
    let mut mode = None;
    let mut roots = TrustedRoots::System;
    let mut kept = Vec::new();
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        match parameter.split_once('=') {
            Some(("sslmode", value)) => mode = Some(parse_mode(value)?),
            Some(("sslrootcert", "system")) => roots = TrustedRoots::System,
            Some(("sslrootcert", value)) => {
                roots = TrustedRoots::File(PathBuf::from(percent_decode(value)?));
            }
            _ => kept.push(parameter),
        }
    }
    let mode = mode.unwrap_or(match roots {
        TrustedRoots::System => SslMode::Prefer,
        TrustedRoots::File(_) => SslMode::Require,
    });
    let mut config = parse_config(&format!("{address}?{}", kept.join("&")))?;
    let Some(user) = config.get_user().filter(|user| !user.is_empty()) else {
        return refuse("it names no user");
    };
    let database = config
        .get_dbname()
        .filter(|name| !name.is_empty())
        .unwrap_or(user)
        .to_owned();
    if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
        return refuse("it names no host");
    }
    let only_sockets =
        config.get_hostaddrs().is_empty() && config.get_hosts().iter().all(is_socket);
    let mode = if only_sockets { SslMode::Disable } else { mode };
    config.ssl_mode(mode);
    let roots = (mode != SslMode::Disable).then_some(roots);
    Ok(ParsedUrl {
        config,
        database,
        roots,
    })
}

/// Host, port and database for messages; no user, no password.
pub(super) fn describe(config: &Config) -> String {
    let ports = config.get_ports();
    let hosts: Vec<String> = config
        .get_hosts()
        .iter()
        .enumerate()
        .map(|(index, host)| {
            let port = ports.get(index).or(ports.first()).copied().unwrap_or(5432);
            match host {
                Host::Tcp(name) => format!("{name}:{port}"),
                Host::Unix(path) => format!("{}:{port}", path.display()),
            }
        })
        .chain(config.get_hostaddrs().iter().map(ToString::to_string))
        .collect();
    format!(
        "database {:?} at {}",
        config.get_dbname().unwrap_or_default(),
        hosts.join(",")
    )
}

fn is_socket(host: &Host) -> bool {
    matches!(host, Host::Unix(_))
}

/// The address and the query. A `?` before the first `@` belongs to the password, as tokio-postgres reads it.
fn split_query(url: &str) -> (&str, &str) {
    let address_from = url.find('@').unwrap_or(0);
    match url[address_from..].find('?') {
        Some(at) => (&url[..address_from + at], &url[address_from + at + 1..]),
        None => (url, ""),
    }
}

fn parse_mode(value: &str) -> Result<SslMode, PostgresError> {
    match value {
        "disable" => Ok(SslMode::Disable),
        "prefer" => Ok(SslMode::Prefer),
        "require" | "verify-ca" | "verify-full" => Ok(SslMode::Require),
        _ => Err(PostgresError::Url(
            "sslmode must be disable, prefer, require, verify-ca or verify-full".to_owned(),
        )),
    }
}

fn parse_config(url: &str) -> Result<Config, PostgresError> {
    url.parse().map_err(|error: tokio_postgres::Error| {
        // The cause names the option that is wrong (`unknown option x`), never a value.
        let cause = std::error::Error::source(&error)
            .map_or_else(|| error.to_string(), ToString::to_string);
        PostgresError::Url(cause)
    })
}

fn percent_decode(text: &str) -> Result<String, PostgresError> {
    let refuse = || PostgresError::Url("sslrootcert is not percent-encoded UTF-8".to_owned());
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        if first == b'%' {
            let digits = after.get(..2).ok_or_else(refuse)?;
            bytes.extend(hex::decode(digits).map_err(|_| refuse())?);
            rest = &after[2..];
        } else {
            bytes.push(first);
            rest = after;
        }
    }
    String::from_utf8(bytes).map_err(|_| refuse())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use tokio_postgres::config::SslMode;

    use super::{describe, parse};
    use crate::postgres::tls::TrustedRoots;

    fn mode_and_roots(query: &str) -> (SslMode, Option<TrustedRoots>) {
        let parsed = parse(&format!("postgres://u:p@db.example:5433/ledger{query}")).unwrap();
        (parsed.config.get_ssl_mode(), parsed.roots)
    }

    #[test]
    fn every_mode_of_libpq_that_can_be_kept_is_kept() {
        let system = || Some(TrustedRoots::System);
        let file = || Some(TrustedRoots::File(PathBuf::from("/etc/my ca.pem")));
        for (query, expected) in [
            ("", (SslMode::Prefer, system())),
            ("?sslmode=prefer", (SslMode::Prefer, system())),
            ("?sslmode=disable", (SslMode::Disable, None)),
            ("?sslmode=require", (SslMode::Require, system())),
            (
                "?sslmode=verify-ca&application_name=x",
                (SslMode::Require, system()),
            ),
            (
                "?sslmode=verify-full&sslrootcert=system",
                (SslMode::Require, system()),
            ),
            ("?sslrootcert=/etc/my%20ca.pem", (SslMode::Require, file())),
            (
                "?sslrootcert=/etc/my%20ca.pem&sslmode=prefer",
                (SslMode::Prefer, file()),
            ),
        ] {
            assert_eq!(mode_and_roots(query), expected, "{query}");
        }
    }

    #[test]
    fn sockets_need_no_tls() {
        let parsed =
            parse("postgres://u@%2Fvar%2Frun%2Fpostgresql/ledger?sslmode=require").unwrap();
        assert_eq!(
            (parsed.config.get_ssl_mode(), parsed.roots),
            (SslMode::Disable, None)
        );
        assert_eq!(
            describe(&parsed.config),
            "database \"ledger\" at /var/run/postgresql:5432"
        );
    }

    #[test]
    fn the_database_defaults_to_the_user() {
        assert_eq!(parse("postgres://someone@h").unwrap().database, "someone");
        assert_eq!(
            parse("postgres://someone@h/other").unwrap().database,
            "other"
        );
    }

    #[test]
    fn a_bad_url_is_refused_without_repeating_its_secrets() {
        for (url, says) in [
            ("mysql://u:hunter2@h/d", "postgres://"),
            ("postgres://u:hunt@er2@h/d", "%40"),
            (
                "postgres://u:hunter2@h/d?sslmode=hunter2",
                "sslmode must be",
            ),
            (
                "postgres://u:hunter2@h/d?sslrootcert=%hunter2",
                "sslrootcert",
            ),
            ("postgres://u:hunter2@h:port/d", "port"),
            ("postgres://u:hunter2@h/d?nonsense=hunter2", "nonsense"),
            ("postgres://h/d", "no user"),
            ("postgres://u:hunter2@/d", "no host"),
        ] {
            let message = parse(url).unwrap_err().to_string();
            assert!(message.contains(says), "{url}: {message}");
            assert!(
                !message.contains("hunt") && !message.contains("er2"),
                "{message}"
            );
        }
    }

    #[test]
    fn a_question_mark_in_the_password_is_not_the_query() {
        let parsed = parse("postgres://u:a?sslmode=x@h/d?sslmode=disable").unwrap();
        assert_eq!(parsed.config.get_password(), Some(&b"a?sslmode=x"[..]));
        assert_eq!(parsed.config.get_ssl_mode(), SslMode::Disable);
    }
}
