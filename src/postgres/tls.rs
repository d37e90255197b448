//! TLS to the database. Owns which certificates are trusted; never connects without verifying: rustls checks the
//! chain and the host name whatever `sslmode` says.

use std::path::PathBuf;

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::error::PostgresError;

/// Whom to trust.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TrustedRoots {
    /// The certificates of the operating system.
    System,
    /// Those of a PEM file (`sslrootcert=`), and no others.
    File(PathBuf),
}

/// Makes aws-lc-rs the process's cryptography for TLS. May be called any number of times; the first wins.
pub fn install_crypto_provider() {
    // An error only says that one is installed already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// Reads the trusted certificates; blocking.
pub(super) fn connector(roots: &TrustedRoots) -> Result<MakeRustlsConnect, PostgresError> {
    install_crypto_provider();
    let store = match roots {
        TrustedRoots::System => {
            if let Ok((connector, _unreadable)) = MakeRustlsConnect::with_native_certs() {
                return Ok(connector);
            }
            // A server without TLS can still be reached; one with TLS will not be trusted.
            tracing::warn!(
                "the system has no trusted certificates; TLS to the database needs sslrootcert="
            );
            RootCertStore::empty()
        }
        TrustedRoots::File(path) => {
            let failed = |problem: String| {
                PostgresError::Tls(format!("sslrootcert {}: {problem}", path.display()))
            };
            let mut store = RootCertStore::empty();
            for certificate in
                CertificateDer::pem_file_iter(path).map_err(|e| failed(e.to_string()))?
            {
                let certificate = certificate.map_err(|e| failed(e.to_string()))?;
                store.add(certificate).map_err(|e| failed(e.to_string()))?;
            }
            if store.is_empty() {
                return Err(failed("it holds no certificate".to_owned()));
            }
            store
        }
    };
    Ok(MakeRustlsConnect::new(
        ClientConfig::builder()
            .with_root_certificates(store)
            .with_no_client_auth(),
    ))
}
