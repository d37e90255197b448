//! Seals that are made when a test says so.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use credit_ledger::audit::seal::{Round, SealError, Sealer};
use credit_ledger::config::SealSettings;
use credit_ledger_verify::seal::SealKey;
use reqwest::Method;

use super::{Options, TestApp};

/// What the key of the tests is made of.
const SEED: [u8; 32] = [7; 32];

/// Signs the seals of the tests.
pub fn key() -> SealKey {
    SealKey::from_seed(&SEED)
}

/// The same as the setting `SEAL_KEY` has it: PKCS #8 (RFC 8410, section 7) in PEM.
pub fn key_pem() -> String {
    let mut der = hex::decode("302e020100300506032b657004220420").unwrap();
    der.extend(SEED);
    let base64 = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN PRIVATE KEY-----\n{base64}\n-----END PRIVATE KEY-----\n")
}

/// Seals when it is told to, and never by itself.
pub fn sealing() -> Options {
    sealing_with(|_| {})
}

/// The same with other settings.
pub fn sealing_with(change: impl Fn(&mut SealSettings) + Send + Sync + 'static) -> Options {
    Options {
        configure: Arc::new(move |config| {
            let mut settings = SealSettings {
                every: Duration::from_hours(1),
                ..SealSettings::of(key())
            };
            change(&mut settings);
            config.seals = Some(settings);
        }),
        ..Options::default()
    }
}

impl TestApp {
    /// Who seals.
    pub fn sealer(&self) -> Arc<Sealer> {
        self.app().sealer.clone().unwrap()
    }

    /// One round.
    pub async fn seal(&self) -> Result<Round, SealError> {
        self.sealer().round().await
    }

    /// Rounds until nothing is left.
    pub async fn seal_all(&self) {
        while self.seal().await.unwrap().more {}
    }

    /// Gives credits to so many users: an event each, over the shards.
    pub async fn grants(&self, users: std::ops::Range<u32>) {
        for user in users {
            self.grant(&format!("user_{user}"), 1).await;
        }
    }

    /// What `/metrics` says of a metric, its labels included.
    pub async fn metric(&self, name: &str) -> f64 {
        let response = self.request(Method::GET, "/metrics").send().await.unwrap();
        assert_eq!(response.status(), 200);
        let text = response.text().await.unwrap();
        let value = text.lines().find_map(|line| line.strip_prefix(name));
        let value = value.unwrap_or_else(|| panic!("no {name} in {text}"));
        value.trim().parse().unwrap()
    }
}
