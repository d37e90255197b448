//! `demo`: the whole story in a minute, against the real service: an embedded database, throw-away secrets, signed
//! deliveries over HTTP, a stand-in for Razorpay's API.
//!
//! Every step knows what must come of it: the demo fails if anything else does.

mod razorpay_stand_in;
mod sealed;
mod story;

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use credit_ledger_verify::seal::SealKey;
use tokio::sync::oneshot;

use super::{exit, told_to_stop};
use crate::access::mint::TokenMint;
use crate::access::{ApiKeySettings, ClerkSettings, KeySource, SessionSettings};
use crate::app::{Application, StartError, random_bytes, system_clock};
use crate::cli::send::new_id;
use crate::config::{Config, RazorpayApiSettings, SealSettings};
use crate::postgres::DatabaseSettings;
use razorpay_stand_in::RazorpayStandIn;
use story::Story;

/// Flags of `demo`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// End after the story instead of serving on.
    #[arg(long)]
    exit: bool,
    /// Where to listen. Default: 127.0.0.1:8080, or a free port where that one is taken.
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
}

/// The issuer of the demo's session tokens. Nothing is ever fetched from it.
const ISSUER: &str = "https://clerk.demo.invalid";

pub async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let folder = Folder::new()?;
    let mint = TokenMint::generate()?;
    let razorpay = RazorpayStandIn::start()?;
    let config = config(&folder, &mint, &razorpay)?;
    let secrets = story::Secrets::of(&config, mint)?;

    println!("Starting a private PostgreSQL and the service …");
    let application = build(config, arguments.listen).await?;
    let (address, database) = (application.address(), application.database().clone());
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(application.run_until(async {
        let _ = stopped.await;
    }));

    let story = Story::new(address, secrets, razorpay, database)?;
    let told = story.tell().await;
    if told.as_ref().is_ok_and(|good| *good) && !arguments.exit {
        story.invite()?;
        told_to_stop().await;
    }
    let _ = stop.send(());
    serving.await??;
    Ok(exit(told?))
}

/// The service, listening where it was told, or wherever it can.
async fn build(mut config: Config, listen: Option<SocketAddr>) -> Result<Application, StartError> {
    if let Some(address) = listen {
        config.listen = address;
        return Application::build(config, system_clock()).await;
    }
    match Application::build(config.clone(), system_clock()).await {
        Err(StartError::Listen { error, .. }) if error.kind() == ErrorKind::AddrInUse => {
            config.listen.set_port(0);
            Application::build(config, system_clock()).await
        }
        built => built,
    }
}

fn config(folder: &Folder, mint: &TokenMint, razorpay: &RazorpayStandIn) -> anyhow::Result<Config> {
    // Only what the demo itself sets: the settings of the place it runs in are not its business. Where PostgreSQL's
    // programs are is.
    let catalog = folder.0.join("demo.toml");
    std::fs::write(&catalog, include_str!("demo/demo.toml"))?;
    let mut config = Config::load(Some(&catalog), |name| {
        std::env::var(name).ok().filter(|_| name == "PG_BIN_DIR")
    })?;
    config.database = DatabaseSettings {
        data_dir: Some(folder.0.clone()),
        ..config.database
    };
    let svix_key = base64::Engine::encode(
        &base64::engine::general_purpose::STANDARD,
        new_id("demo-only-")?,
    );
    config.clerk_webhook_secrets = vec![format!("whsec_{svix_key}").into()];
    config.razorpay_webhook_secrets = vec![new_id("demo-webhook-")?.into()];
    config.razorpay_api = RazorpayApiSettings {
        key_id: Some("rzp_test_demo".to_owned()),
        key_secret: Some(new_id("demo-key-secret-")?.into()),
        origin: razorpay.origin(),
    };
    config.sessions = SessionSettings {
        clerk: Some(ClerkSettings {
            keys: KeySource::Pem(mint.public_pem().to_owned()),
            issuer: Some(ISSUER.to_owned()),
            authorized_parties: vec![],
        }),
        supabase: None,
    };
    config.api_keys = ApiKeySettings {
        service: Some(new_id("demo-service-key-")?.into()),
        audit: Some(new_id("demo-audit-key-")?.into()),
        ..ApiKeySettings::default()
    };
    config.seals = Some(SealSettings {
        every: Duration::from_millis(200),
        ..SealSettings::of(SealKey::from_seed(&random_bytes()?))
    });
    config.verify_wait = Duration::from_secs(1);
    config.stop_delay = Duration::ZERO;
    Ok(config)
}

/// A folder of the demo's own, gone when the demo is.
struct Folder(PathBuf);

impl Folder {
    fn new() -> anyhow::Result<Self> {
        use std::os::unix::fs::DirBuilderExt as _;
        let path = std::env::temp_dir().join(new_id("credit-ledger-demo-")?);
        std::fs::DirBuilder::new().mode(0o755).create(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
