//! The command line: one file per command, all reading the same settings.
//!
//! Exit code 0: done. 1: a check failed, or the command could not do its work. 2: the command line itself was wrong.

mod audit;
mod demo;
mod keys;
mod migrate;
mod openapi;
mod panics;
mod rebuild;
mod recover;
mod send;
mod serve;

use std::future::Future;
use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use tracing::Level;
use tracing_subscriber::filter::{FilterExt as _, filter_fn};
use tracing_subscriber::layer::{Filter, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, Registry};

use crate::config::{Config, ConfigError};
use crate::postgres::{error_chain, install_crypto_provider};

/// An event-sourced credit ledger: verified webhooks become an append-only history of credits.
#[derive(Debug, Parser)]
#[command(name = "credit-ledger", version, about, max_term_width = 100)]
struct Cli {
    /// The settings file. Default: credit-ledger.toml, if there is one.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Answer webhooks and requests.
    Serve(serve::Arguments),
    /// Play a sign-up and purchases through the real service, with a throw-away database; then keep serving.
    Demo(demo::Arguments),
    /// Sign a sample delivery with the configured secret and post it, to try things out without a tunnel.
    Send(send::Arguments),
    /// Bring the database's schema and read models up to date.
    Migrate,
    /// Make read models again from the log, while the service runs.
    Rebuild(rebuild::Arguments),
    /// Find what should have credits and has none, and repair it.
    Recover(recover::Arguments),
    /// Make, list and revoke API keys.
    Keys(keys::Arguments),
    /// Check the history.
    Audit(audit::Arguments),
    /// Print the description of the HTTP API, OpenAPI 3.1.
    Openapi,
}

/// Parses the arguments, runs the command, says what went wrong.
pub fn run() -> ExitCode {
    panics::tell_without_data();
    let cli = Cli::parse();
    start_log(&cli.command);
    install_crypto_provider();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error),
    };
    let code = match runtime.block_on(dispatch(cli)) {
        Ok(code) => code,
        Err(error) => failed(&*error),
    };
    // All that can still be running is waiting for a database that hangs.
    runtime.shutdown_background();
    code
}

async fn dispatch(cli: Cli) -> anyhow::Result<ExitCode> {
    let file = cli.config.as_deref();
    let load = || Config::load(file, |name| std::env::var(name).ok());
    match cli.command {
        Command::Serve(arguments) => serve::run(arguments, file).await,
        Command::Demo(arguments) => demo::run(arguments).await,
        Command::Send(arguments) => send::run(arguments, load()?).await,
        Command::Migrate => migrate::run(load()?).await,
        Command::Rebuild(arguments) => rebuild::run(arguments, load()?).await,
        Command::Recover(arguments) => recover::run(arguments, load()?).await,
        Command::Keys(arguments) => keys::run(arguments, load()?).await,
        Command::Audit(arguments) => audit::run(arguments, load()?).await,
        Command::Openapi => Ok(openapi::run()),
    }
}

/// Says an error with its causes.
fn failed(error: &(dyn std::error::Error + 'static)) -> ExitCode {
    eprintln!("error: {}", error_chain(error));
    ExitCode::FAILURE
}

/// What may say no more than `info`, whatever is asked for: the driver shows on debug the parameters of each statement,
/// bodies and names among them, and the server a header's value that it can not read.
const TOO_LOUD: [&str; 2] = ["tokio_postgres::query", "actix_http::h1::decoder"];

/// What is logged when this is asked for. Not, unless it is named, the error that the HTTP library logs whenever a client
/// speaks no HTTP: it is no fault of ours, and anybody may cause it.
pub fn log_filter(levels: &str) -> impl Filter<Registry> + Send + Sync + use<> {
    // Not as directives: a finer one would win.
    let quiet =
        filter_fn(|what| *what.level() <= Level::INFO || !TOO_LOUD.contains(&what.target()));
    let http = if levels.contains("actix_http") {
        ""
    } else {
        ",actix_http::h1::dispatcher=off"
    };
    EnvFilter::new(format!("{levels}{http}")).and(quiet)
}

/// Logs go to standard error, so that what a command prints stays its own. `RUST_LOG` says how much.
fn start_log(command: &Command) {
    let quiet = !matches!(command, Command::Serve(_));
    // Libraries say on info what nobody who runs this needs to read.
    let default = if quiet {
        "warn"
    } else {
        "warn,credit_ledger=info"
    };
    let asked = std::env::var(EnvFilter::DEFAULT_ENV).ok();
    let asked = asked.filter(|levels| EnvFilter::try_new(levels).is_ok());
    let log = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .with_filter(log_filter(asked.as_deref().unwrap_or(default)));
    let _ = tracing_subscriber::registry().with(log).try_init();
}

/// Runs long work beside a bar, drawn only on a terminal, and takes the bar away whatever came of it.
async fn with_progress<T>(what: &'static str, work: impl AsyncFnOnce(&ProgressBar) -> T) -> T {
    let bar = ProgressBar::new(0);
    let style = "{msg} [{bar:40}] {human_pos}/{human_len} {per_sec} {eta}";
    if let Ok(style) = ProgressStyle::with_template(style) {
        bar.set_style(style);
    }
    bar.set_message(what);
    let done = work(&bar).await;
    bar.finish_and_clear();
    done
}

/// Done when the process is told to stop: `SIGTERM`, or Ctrl-C.
async fn told_to_stop() {
    let interrupt = tokio::signal::ctrl_c();
    match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        Ok(mut terminate) => {
            tokio::select! { _ = interrupt => {}, _ = terminate.recv() => {} }
        }
        Err(_) => {
            let _ = interrupt.await;
        }
    }
}

/// Runs with settings that a command changes before they are used.
fn load_with(
    file: Option<&std::path::Path>,
    flags: &[(&str, Option<String>)],
) -> Result<Config, ConfigError> {
    Config::load(file, |name| {
        let flag = flags
            .iter()
            .find(|(flag, _)| *flag == name)
            .and_then(|(_, value)| value.clone());
        flag.or_else(|| std::env::var(name).ok())
    })
}

/// For commands that end with a yes or no.
fn exit(good: bool) -> ExitCode {
    if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Runs `work` on the database of the settings and closes it after, whatever came of it.
async fn with_database<T, F>(
    config: &Config,
    work: impl FnOnce(crate::postgres::Database) -> F,
) -> anyhow::Result<T>
where
    F: Future<Output = anyhow::Result<T>>,
{
    let database = crate::postgres::Database::open(&config.database).await?;
    let result = match database.refuse_newer_schema().await {
        Ok(()) => work(database.clone()).await,
        Err(error) => Err(error.into()),
    };
    database.close().await;
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_bar_is_gone_when_its_work_fails() {
        let mut seen = None;
        let failed = with_progress("failing", async |bar| {
            bar.set_length(2);
            bar.set_position(1);
            seen = Some(bar.clone());
            Err::<(), &str>("no")
        })
        .await;
        assert_eq!(failed, Err("no"));
        assert!(seen.unwrap().is_finished());
    }
}
