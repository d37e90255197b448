//! The settings of all three systems: those of one instance of this service, as it comes.

use std::path::{Path, PathBuf};

use credit_ledger::config::Config;
use credit_ledger::postgres::DatabaseSettings;

use super::delivery::SECRET;

/// Settings of all three systems: defaults, a webhook secret, one thing to buy.
pub fn config(folder: &Path, database: &str) -> anyhow::Result<Config> {
    let file = PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/benches/webhooks/ledger.toml"
    ));
    let mut config = Config::load(Some(&file), |name| {
        // To try other settings; what is reported is run without.
        let ours = matches!(name, "PG_BIN_DIR" | "LANES" | "WORKERS");
        std::env::var(name).ok().filter(|_| ours)
    })?;
    config.listen = ([127, 0, 0, 1], 0).into();
    config.razorpay_webhook_secrets = vec![SECRET.to_owned().into()];
    config.database = DatabaseSettings {
        data_dir: Some(folder.to_owned()),
        database: Some(database.to_owned()),
        ..config.database
    };
    Ok(config)
}
