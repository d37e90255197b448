//! This service: one instance, default settings.

use std::path::{Path, PathBuf};

use credit_ledger::app::{Application, system_clock};
use credit_ledger::config::Config;
use credit_ledger::postgres::DatabaseSettings;
use tokio::sync::oneshot;

use super::delivery::SECRET;
use super::running::Running;

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

/// Starts it on a database.
pub async fn start(config: Config) -> anyhow::Result<Running> {
    let application = Application::build(config, system_clock()).await?;
    let address = application.address();
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(async move {
        let stopped = async {
            let _ = stopped.await;
        };
        Ok(application.run_until(stopped).await?)
    });
    Ok(Running {
        address,
        stop,
        serving,
    })
}
