//! Settings: the file, under the environment, under the flags. Read once, checked whole, before anything starts.
//!
//! Every setting has one name. `VERIFY_WAIT_MS` in the environment is `verify_wait_ms` in the file. One that would do
//! nothing without another is an error. Must never show a secret: errors name the setting, not its value.

mod access;
mod api;
mod other_rules;
mod referral;
mod seals;
mod set_up;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use secrecy::SecretString;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::access::{ApiKeySettings, RateLimitSettings, SessionSettings};
use crate::ledger::Credits;
use crate::postgres::DatabaseSettings;
use crate::provider::{Catalog, Rules, Signup};
use crate::store::LedgerSettings;
pub use api::{RazorpayApiSettings, StripeApiSettings};
pub use other_rules::OtherRules;
pub use referral::Referral;
pub use seals::{SealSettings, WitnessUrlSettings};
pub use set_up::SetUp;

/// Where settings are looked for when nobody says where.
pub const DEFAULT_FILE: &str = "credit-ledger.toml";

/// Everything that can be set.
#[derive(Debug, Clone)]
pub struct Config {
    /// `LISTEN`: where HTTP is served. Port 0 takes any free one.
    pub listen: SocketAddr,
    /// `DATABASE_URL`, `DATA_DIR`, `PG_BIN_DIR`.
    pub database: DatabaseSettings,
    /// `CLERK_WEBHOOK_SECRET`: newest first.
    pub clerk_webhook_secrets: Vec<SecretString>,
    /// `RAZORPAY_WEBHOOK_SECRET`: newest first.
    pub razorpay_webhook_secrets: Vec<SecretString>,
    /// `RAZORPAY_KEY_ID`, `RAZORPAY_KEY_SECRET`, `RAZORPAY_API_URL`.
    pub razorpay_api: RazorpayApiSettings,
    /// `STRIPE_WEBHOOK_SECRET`: newest first.
    pub stripe_webhook_secrets: Vec<SecretString>,
    /// `STRIPE_LIVEMODE`: whether events of live mode or of test mode are taken; `None`: both. Without the setting the
    /// API key says it.
    pub stripe_livemode: Option<bool>,
    /// `STRIPE_SECRET_KEY`, `STRIPE_API_URL`.
    pub stripe_api: StripeApiSettings,
    /// `CLERK_JWT_KEY` or `CLERK_JWKS_URL`, `CLERK_ISSUER`, `CLERK_AUTHORIZED_PARTIES`, `SUPABASE_URL`,
    /// `SUPABASE_JWT_SECRET`.
    pub sessions: SessionSettings,
    /// `ADMIN_API_KEY`, `SERVICE_API_KEY`, `AUDIT_API_KEY`.
    pub api_keys: ApiKeySettings,
    /// `RATE_LIMIT_PER_KEY`, `RATE_LIMIT_PER_ADDRESS`, `RATE_LIMIT_BURST`, `TRUSTED_PROXIES`.
    pub rate_limits: RateLimitSettings,
    /// `[signup]` and `[[catalog]]` of the file.
    pub rules: Rules,
    /// `[referral]` of the file.
    pub referral: Referral,
    /// `VERIFY_WAIT_MS`: how long verify-payment waits for the webhook, 0 to 30,000 ms.
    pub verify_wait: Duration,
    /// `MATCH_AFTER_MS`: how long after a payment that names nobody its payer's e-mail address is looked at, 0 to
    /// 3,600,000 ms. Another event of the same payment may name the buyer meanwhile.
    pub match_after: Duration,
    /// `UPKEEP_EVERY_MS`: how often work that was left behind is looked for, 100 to 3,600,000 ms. What this instance
    /// leaves itself is seen at once.
    pub upkeep_every: Duration,
    /// `STOP_DELAY_MS`: how long work is still taken after readiness said no, 0 to 60,000 ms.
    pub stop_delay: Duration,
    /// `ERASE_AFTER_DAYS`: how long after a user was deleted their personal data is erased, 0 to 3650 days of 24 hours;
    /// `None`: only on request.
    pub erase_after: Option<Duration>,
    /// `SEAL_KEY`, `SEAL_EVERY_MS`, `SEAL_WITNESS_FILE`, `SEAL_WITNESS_URL`, `SEAL_WITNESS_TOKEN`. None: nothing is sealed.
    pub seals: Option<SealSettings>,
    /// `LANES`: 1 to 16.
    pub store: LedgerSettings,
    /// `WORKERS`: threads that serve HTTP, 1 to 64.
    pub workers: usize,
}

/// A setting that can not be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can not be read.
    #[error("{path}: {error}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The file is no TOML, or holds what no setting is called.
    #[error("{path}: {message}")]
    Toml {
        /// Which.
        path: PathBuf,
        /// Where and what.
        message: String,
    },
    /// A value can not be understood. Holds the rule, not the value.
    #[error("{name}: {rule}")]
    Value {
        /// The setting.
        name: &'static str,
        /// What it must be.
        rule: &'static str,
    },
}

/// What the file may hold besides the settings that the environment has, too.
#[derive(Deserialize, Default)]
struct File {
    signup: Option<SignupTable>,
    referral: Option<Referral>,
    catalog: Option<Catalog>,
    #[serde(flatten)]
    settings: BTreeMap<String, toml::Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SignupTable {
    bonus_credits: Option<Credits>,
    plan: Option<String>,
}

/// Of a day without leap seconds.
const SECONDS_PER_DAY: u64 = 24 * 60 * 60;

/// Every setting that the environment, the file or a flag can give.
pub const NAMES: [&str; 39] = [
    "LISTEN",
    "DATABASE_URL",
    "DATA_DIR",
    "PG_BIN_DIR",
    "CLERK_WEBHOOK_SECRET",
    "RAZORPAY_WEBHOOK_SECRET",
    "RAZORPAY_KEY_ID",
    "RAZORPAY_KEY_SECRET",
    "RAZORPAY_API_URL",
    "STRIPE_WEBHOOK_SECRET",
    "STRIPE_LIVEMODE",
    "STRIPE_SECRET_KEY",
    "STRIPE_API_URL",
    "CLERK_JWT_KEY",
    "CLERK_JWKS_URL",
    "CLERK_ISSUER",
    "CLERK_AUTHORIZED_PARTIES",
    "SUPABASE_URL",
    "SUPABASE_JWT_SECRET",
    "ADMIN_API_KEY",
    "SERVICE_API_KEY",
    "AUDIT_API_KEY",
    "RATE_LIMIT_PER_KEY",
    "RATE_LIMIT_PER_ADDRESS",
    "RATE_LIMIT_BURST",
    "TRUSTED_PROXIES",
    "VERIFY_WAIT_MS",
    "MATCH_AFTER_MS",
    "UPKEEP_EVERY_MS",
    "STOP_DELAY_MS",
    "ERASE_AFTER_DAYS",
    "SEAL_KEY",
    "SEAL_EVERY_MS",
    "SEAL_WITNESS_FILE",
    "SEAL_WITNESS_URL",
    "SEAL_WITNESS_TOKEN",
    "LANES",
    "QUEUE",
    "WORKERS",
];

impl Config {
    /// Reads the settings. `file`: the file that the caller named; without one, [`DEFAULT_FILE`] if it is there.
    /// `get` gives what flags and environment say of a name.
    ///
    /// # Errors
    /// [`ConfigError`] for the first setting that can not be used.
    pub fn load(
        file: Option<&Path>,
        get: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        let (path, file) = read_file(file)?;
        check_names(&path, &file.settings)?;
        let settings = Settings {
            file: file.settings,
            get: &get,
        };
        let signup = file.signup.as_ref();
        Ok(Self {
            listen: settings
                .parsed("LISTEN", "must be an address and a port")?
                .unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 8080))),
            database: DatabaseSettings {
                url: settings.database_url()?,
                data_dir: settings.text("DATA_DIR").map(PathBuf::from),
                bin_dir: settings.text("PG_BIN_DIR").map(PathBuf::from),
                database: None,
            },
            clerk_webhook_secrets: settings.secrets("CLERK_WEBHOOK_SECRET"),
            razorpay_webhook_secrets: settings.secrets("RAZORPAY_WEBHOOK_SECRET"),
            razorpay_api: settings.razorpay_api()?,
            stripe_webhook_secrets: settings.secrets("STRIPE_WEBHOOK_SECRET"),
            stripe_livemode: settings.stripe_livemode()?,
            stripe_api: settings.stripe_api()?,
            sessions: settings.sessions()?,
            api_keys: ApiKeySettings {
                admin: settings.secret("ADMIN_API_KEY"),
                service: settings.secret("SERVICE_API_KEY"),
                audit: settings.secret("AUDIT_API_KEY"),
            },
            rate_limits: settings.rate_limits()?,
            rules: Rules {
                signup: Signup {
                    bonus_credits: signup
                        .and_then(|table| table.bonus_credits)
                        .map_or_else(|| Credits::new(20), Ok)
                        .map_err(|_| value("signup.bonus_credits", "is out of range"))?,
                    plan: signup
                        .and_then(|table| table.plan.clone())
                        .unwrap_or_else(|| "free".to_owned()),
                },
                catalog: file.catalog.unwrap_or_default(),
            },
            referral: file.referral.unwrap_or_default(),
            verify_wait: Duration::from_millis(
                settings
                    .number("VERIFY_WAIT_MS", 0, 30_000, "must be 0 to 30000")?
                    .unwrap_or(3000),
            ),
            match_after: Duration::from_millis(
                settings
                    .number("MATCH_AFTER_MS", 0, 3_600_000, "must be 0 to 3600000")?
                    .unwrap_or(10_000),
            ),
            upkeep_every: Duration::from_millis(
                settings
                    .number("UPKEEP_EVERY_MS", 100, 3_600_000, "must be 100 to 3600000")?
                    .unwrap_or(5000),
            ),
            stop_delay: Duration::from_millis(
                settings
                    .number("STOP_DELAY_MS", 0, 60_000, "must be 0 to 60000")?
                    .unwrap_or(1000),
            ),
            erase_after: settings
                .number("ERASE_AFTER_DAYS", 0, 3650, "must be 0 to 3650")?
                .map(|days| Duration::from_secs(days * SECONDS_PER_DAY)),
            seals: settings.seals()?,
            store: settings.store()?,
            workers: settings
                .size("WORKERS", 64, "must be 1 to 64")?
                .unwrap_or_else(cores),
        })
    }
}

fn cores() -> usize {
    std::thread::available_parallelism()
        .map_or(1, std::num::NonZero::get)
        .min(64)
}

const fn value(name: &'static str, rule: &'static str) -> ConfigError {
    ConfigError::Value { name, rule }
}

fn read_file(named: Option<&Path>) -> Result<(PathBuf, File), ConfigError> {
    let path = named.map_or_else(|| PathBuf::from(DEFAULT_FILE), Path::to_owned);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => {
            return Ok((path, File::default()));
        }
        Err(error) => return Err(ConfigError::File { path, error }),
    };
    Ok((path.clone(), parse(&path, &text)?))
}

fn parse<T: DeserializeOwned>(path: &Path, text: &str) -> Result<T, ConfigError> {
    toml::from_str(text).map_err(|error| {
        // The whole error would print the line, and the line may hold a secret.
        let line = error
            .span()
            .map_or(0, |span| text[..span.start].lines().count().max(1));
        ConfigError::Toml {
            path: path.to_owned(),
            message: format!("line {line}: {}", without_value(error.message())),
        }
    })
}

/// What is wrong, without the text that was found where something else should be.
fn without_value(message: &str) -> String {
    let found = message.split_once(" string \"");
    match found.and_then(|(what, rest)| Some((what, rest.rsplit_once("\", expected ")?.1))) {
        Some((what, expected)) => format!("{what} a string, expected {expected}"),
        None => message.to_owned(),
    }
}

/// Refuses what no setting is called.
fn check_names(path: &Path, settings: &BTreeMap<String, toml::Value>) -> Result<(), ConfigError> {
    for (key, value) in settings {
        let known = NAMES.iter().any(|name| name.eq_ignore_ascii_case(key));
        if !known || value.is_table() {
            return Err(ConfigError::Toml {
                path: path.to_owned(),
                message: format!("`{key}` is not a setting"),
            });
        }
    }
    Ok(())
}

/// Values by name: flags and environment before the file. A blank value is none.
struct Settings<'a> {
    file: BTreeMap<String, toml::Value>,
    get: &'a dyn Fn(&str) -> Option<String>,
}

impl fmt::Debug for Settings<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Settings(..)")
    }
}

impl Settings<'_> {
    /// A setting as it was given, a blank one too.
    fn given(&self, name: &'static str) -> Option<String> {
        let from_file = || {
            self.file
                .get(&name.to_lowercase())
                .map(|value| match value {
                    toml::Value::String(text) => text.clone(),
                    toml::Value::Array(items) => items
                        .iter()
                        .map(|item| {
                            item.as_str()
                                .map_or_else(|| item.to_string(), str::to_owned)
                        })
                        .collect::<Vec<_>>()
                        .join(","),
                    other => other.to_string(),
                })
        };
        (self.get)(name)
            .or_else(from_file)
            .map(|text| text.trim().to_owned())
    }

    fn text(&self, name: &'static str) -> Option<String> {
        self.given(name).filter(|text| !text.is_empty())
    }

    /// Refuses a setting that is there though nothing will use it.
    fn refuse(&self, name: &'static str, rule: &'static str) -> Result<(), ConfigError> {
        match self.text(name) {
            Some(_) => Err(value(name, rule)),
            None => Ok(()),
        }
    }

    /// A blank one is a mistake of whoever meant to name a server: it would start an empty ledger beside theirs.
    fn database_url(&self) -> Result<Option<SecretString>, ConfigError> {
        match self.given("DATABASE_URL") {
            Some(url) if url.is_empty() => Err(value(
                "DATABASE_URL",
                "must not be blank; leave it out to run a private database",
            )),
            url => Ok(url.map(SecretString::from)),
        }
    }

    fn secret(&self, name: &'static str) -> Option<SecretString> {
        self.text(name).map(SecretString::from)
    }

    /// A comma-separated list, newest first.
    fn secrets(&self, name: &'static str) -> Vec<SecretString> {
        self.list(name)
            .into_iter()
            .map(SecretString::from)
            .collect()
    }

    fn list(&self, name: &'static str) -> Vec<String> {
        self.text(name)
            .iter()
            .flat_map(|text| text.split(','))
            .map(str::trim)
            .filter(|item| !item.is_empty())
            .map(str::to_owned)
            .collect()
    }

    fn parsed<T: FromStr>(
        &self,
        name: &'static str,
        rule: &'static str,
    ) -> Result<Option<T>, ConfigError> {
        self.text(name)
            .map(|text| text.parse().map_err(|_| value(name, rule)))
            .transpose()
    }

    fn number(
        &self,
        name: &'static str,
        least: u64,
        most: u64,
        rule: &'static str,
    ) -> Result<Option<u64>, ConfigError> {
        match self.parsed(name, rule)? {
            Some(number) if !(least..=most).contains(&number) => Err(value(name, rule)),
            number => Ok(number),
        }
    }

    fn size(
        &self,
        name: &'static str,
        most: u64,
        rule: &'static str,
    ) -> Result<Option<usize>, ConfigError> {
        let number = self.number(name, 1, most, rule)?;
        number
            .map(|n| usize::try_from(n).map_err(|_| value(name, rule)))
            .transpose()
    }

    fn store(&self) -> Result<LedgerSettings, ConfigError> {
        let default = LedgerSettings::default();
        Ok(LedgerSettings {
            lanes: self
                .size("LANES", 16, "must be 1 to 16")?
                .unwrap_or(default.lanes),
            queue: self
                .size("QUEUE", 65_536, "must be 1 to 65536")?
                .unwrap_or(default.queue),
            ..default
        })
    }
}

#[cfg(test)]
mod tests;
