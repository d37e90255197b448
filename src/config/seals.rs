//! What seals are signed with, how often they are made, and who is told of them.

use std::path::PathBuf;
use std::time::Duration;

use credit_ledger_verify::seal::SealKey;
use secrecy::SecretString;

use super::{ConfigError, Settings, value};
use crate::audit::seal;

/// How seals are made.
#[derive(Debug, Clone)]
pub struct SealSettings {
    /// `SEAL_KEY`: signs.
    pub key: SealKey,
    /// `SEAL_EVERY_MS`: how often new events are sealed, 100 to 3,600,000 ms.
    pub every: Duration,
    /// `SEAL_WITNESS_FILE`: where every seal is written, too.
    pub witness_file: Option<PathBuf>,
    /// `SEAL_WITNESS_URL`: where every seal is sent, too.
    pub witness_url: Option<WitnessUrlSettings>,
    /// The most events in a seal. Nobody sets it; tests have small seals.
    pub events_max: i64,
}

/// Where seals are sent.
#[derive(Debug, Clone)]
pub struct WitnessUrlSettings {
    /// `SEAL_WITNESS_URL`. Such URLs often hold what lets one in.
    pub url: SecretString,
    /// `SEAL_WITNESS_TOKEN`: says who sends.
    pub token: Option<SecretString>,
}

impl SealSettings {
    /// Those of a key when nothing else is set.
    pub const fn of(key: SealKey) -> Self {
        Self {
            key,
            every: Duration::from_secs(5),
            witness_file: None,
            witness_url: None,
            events_max: seal::EVENTS_MAX,
        }
    }
}

impl Settings<'_> {
    pub(super) fn seals(&self) -> Result<Option<SealSettings>, ConfigError> {
        let Some(pem) = self.text("SEAL_KEY") else {
            let rule = "needs SEAL_KEY, too";
            self.refuse("SEAL_EVERY_MS", rule)?;
            self.refuse("SEAL_WITNESS_FILE", rule)?;
            self.refuse("SEAL_WITNESS_URL", rule)?;
            self.refuse("SEAL_WITNESS_TOKEN", rule)?;
            return Ok(None);
        };
        // Files of variables often hold a PEM in one line.
        let key = SealKey::from_pem(&pem.replace("\\r", "").replace("\\n", "\n")).map_err(|_| {
            let rule = "must be an Ed25519 private key in PEM, as `openssl genpkey -algorithm ed25519` writes it";
            value("SEAL_KEY", rule)
        })?;
        let default = SealSettings::of(key);
        let every = self.number("SEAL_EVERY_MS", 100, 3_600_000, "must be 100 to 3600000")?;
        let url = self.secret("SEAL_WITNESS_URL");
        if url.is_none() {
            self.refuse("SEAL_WITNESS_TOKEN", "needs SEAL_WITNESS_URL, too")?;
        }
        Ok(Some(SealSettings {
            every: every.map_or(default.every, Duration::from_millis),
            witness_file: self.text("SEAL_WITNESS_FILE").map(PathBuf::from),
            witness_url: url.map(|url| WitnessUrlSettings {
                url,
                token: self.secret("SEAL_WITNESS_TOKEN"),
            }),
            ..default
        }))
    }
}
