//! The settings of all systems behind HTTP: those of one instance of this service, as it comes.

use std::path::{Path, PathBuf};

use credit_ledger::access::ApiKeySettings;
use credit_ledger::config::Config;
use credit_ledger::postgres::DatabaseSettings;

use super::delivery::SECRET;

/// What the service is told beside its secrets: a bonus, and one thing to buy.
pub const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/webhooks/ledger.toml");
/// What is taken of the environment, to try other settings; what is reported is run without.
pub const TAKEN: [&str; 3] = ["PG_BIN_DIR", "LANES", "WORKERS"];
/// What Clerk's webhooks are signed with.
pub const CLERK_SECRET: &str = "whsec_YmVuY2gtb25seS1jbGVyay13ZWJob29rLXNlY3JldCE=";
/// The backend's API key.
pub const API_KEY: &str = "bench-only-service-key-0000";

/// Settings of all systems: defaults, secrets, an API key, a bonus, one thing to buy.
pub fn config(folder: &Path, database: &str) -> anyhow::Result<Config> {
    let mut config = Config::load(Some(&PathBuf::from(FILE)), |name| {
        std::env::var(name).ok().filter(|_| TAKEN.contains(&name))
    })?;
    config.listen = ([127, 0, 0, 1], 0).into();
    config.razorpay_webhook_secrets = vec![SECRET.to_owned().into()];
    config.clerk_webhook_secrets = vec![CLERK_SECRET.to_owned().into()];
    config.api_keys = ApiKeySettings {
        service: Some(API_KEY.into()),
        ..config.api_keys
    };
    config.database = DatabaseSettings {
        data_dir: Some(folder.to_owned()),
        database: Some(database.to_owned()),
        ..config.database
    };
    Ok(config)
}
