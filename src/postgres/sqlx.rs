//! The same database for sqlx, which postgres-es brings. Owns the translation of our way to the server into sqlx's
//! options; never connects.

use std::{fmt::Write as _, sync::atomic::Ordering};

use sqlx::postgres::{PgConnectOptions, PgSslMode};
use tokio_postgres::config::{Host, SslMode};

use super::{Database, Role, connect::ConnectOptions, layout, tls::TrustedRoots};

impl Database {
    /// How sqlx (inside postgres-es) reaches the same database in the same role. Of several hosts in a URL it knows
    /// the first only. With TLS it verifies as we do, but beside `sslrootcert` it also trusts the public
    /// certificate authorities it carries, and it does not ask the operating system for any.
    pub fn sqlx_options(&self, role: Role, options: &ConnectOptions) -> PgConnectOptions {
        let config = &self.server.config;
        let mut sqlx = sqlx_base(config.get_options())
            .port(
                config
                    .get_ports()
                    .first()
                    .copied()
                    .unwrap_or(layout::SOCKET_PORT),
            )
            .username(config.get_user().unwrap_or_default())
            .database(&self.name)
            .application_name(&options.application_name)
            .ssl_mode(self.sqlx_ssl_mode())
            .options(options.session_settings(self.role_name(role)));
        if let Some(password) = config.get_password() {
            sqlx = sqlx.password(&String::from_utf8_lossy(password));
        }
        if let Some(TrustedRoots::File(path)) = &self.server.roots {
            sqlx = sqlx.ssl_root_cert(path);
        }
        match (config.get_hosts().first(), config.get_hostaddrs().first()) {
            (Some(Host::Unix(path)), _) => sqlx.socket(path),
            (Some(Host::Tcp(name)), _) => sqlx.host(name),
            (None, Some(address)) => sqlx.host(&address.to_string()),
            (None, None) => sqlx,
        }
    }

    /// sqlx can not verify and fall back both, so `prefer` becomes what the first connection found.
    fn sqlx_ssl_mode(&self) -> PgSslMode {
        match self.server.config.get_ssl_mode() {
            SslMode::Require => PgSslMode::VerifyFull,
            SslMode::Prefer if self.server.encrypted.load(Ordering::Acquire) => {
                PgSslMode::VerifyFull
            }
            _ => PgSslMode::Disable,
        }
    }
}

/// Options with the raw `options` of a URL: sqlx takes such a text only from a URL.
fn sqlx_base(raw_options: Option<&str>) -> PgConnectOptions {
    let Some(raw) = raw_options else {
        return PgConnectOptions::new_without_pgpass();
    };
    let mut encoded = String::new();
    for byte in raw.bytes() {
        // Writing to a String can not fail.
        let _ = write!(encoded, "%{byte:02X}");
    }
    format!("postgres://localhost?options={encoded}")
        .parse()
        .unwrap_or_else(|_| PgConnectOptions::new_without_pgpass())
}
