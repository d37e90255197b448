//! What goes over the whole history once, each timed beside `COPY events TO STDOUT` of the same table.

use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::ensure;
use credit_ledger::app::system_now;
use credit_ledger::audit::export::{self, Format, Request};
use credit_ledger::audit::{replay, verify};
use credit_ledger::postgres::{ConnectOptions, Database, Role};
use credit_ledger::projection::{READ_MODELS, rebuild};
use credit_ledger_verify::check::Trust;
use credit_ledger_verify::manifest::{Content, Scope};
use credit_ledger_verify::report::{Report, Verdict};
use credit_ledger_verify::seal::PublicKey;
use futures_util::TryStreamExt as _;

/// What is gone over.
pub struct History {
    /// Where it is.
    pub database: Database,
    /// How many events it has.
    pub events: u64,
    /// Who signed its seals.
    pub key: PublicKey,
    /// Where it is exported to.
    pub folder: PathBuf,
}

/// How many events were seen, if all is as it must be.
fn clean(report: &Report) -> anyhow::Result<u64> {
    let verdict = report.verdict();
    ensure!(
        verdict == Verdict::Clean,
        "{verdict:?}: {:?}",
        report.findings
    );
    Ok(report.events)
}

/// One way to go over all events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// `COPY events TO STDOUT`, thrown away: the fastest that PostgreSQL gives the table away.
    Copy,
    /// `audit verify`, on the database.
    Verify,
    /// `audit export`, into a new folder.
    Export,
    /// `credit-ledger-verify`, on what the last export wrote.
    VerifyExport,
    /// `audit replay`: stock postgres-es.
    Replay,
    /// `rebuild` of a read model.
    Rebuild(&'static str),
}

impl Pass {
    /// All of them, in the order in which they are run.
    pub fn all() -> Vec<Self> {
        let rebuilds = READ_MODELS.iter().map(|model| Self::Rebuild(model.name));
        [
            Self::Copy,
            Self::Verify,
            Self::Export,
            Self::VerifyExport,
            Self::Replay,
        ]
        .into_iter()
        .chain(rebuilds)
        .collect()
    }

    /// Goes over everything. Fails unless all of it was seen and nothing is wrong with it.
    ///
    /// # Errors
    /// What failed, or what is wrong.
    pub async fn run(self, history: &History) -> anyhow::Result<Duration> {
        let History {
            database,
            events,
            key,
            folder,
        } = history;
        if self == Self::Export && folder.exists() {
            std::fs::remove_dir_all(folder)?;
        }
        let begin = Instant::now();
        let seen = match self {
            Self::Copy => copy(database).await?,
            Self::Verify => {
                let trust = Trust::of_keys(vec![key.clone()]);
                let verified = verify::verify(database, trust, None, &mut |_, _| {}).await?;
                clean(&verified.report)?
            }
            Self::Export => {
                let request = Request {
                    folder: folder.clone(),
                    scope: Scope::Whole,
                    format: Format::Ndjson,
                };
                let manifest =
                    export::export(database, &request, system_now(), &mut |_, _| {}).await?;
                let files = manifest.files.iter();
                let of_events = files.filter(|file| file.content == Content::Events);
                of_events.map(|file| file.lines).sum()
            }
            Self::VerifyExport => {
                let (folder, trust) = (folder.clone(), Trust::of_keys(vec![key.clone()]));
                let judge = move || credit_ledger_verify::export::verify(&folder, trust);
                clean(&tokio::task::spawn_blocking(judge).await??)?
            }
            Self::Replay => {
                let report = replay::replay(database, &mut |_, _| {}).await?;
                ensure!(report.differences.is_empty(), "{:?}", report.differences);
                report.events
            }
            Self::Rebuild(name) => {
                let rebuilt = rebuild::rebuild(database, name, &mut |_, _| {}).await?;
                rebuilt.positions.try_into()?
            }
        };
        ensure!(seen == *events, "{self}: {seen} events of {events}");
        Ok(begin.elapsed())
    }
}

impl fmt::Display for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Copy => f.write_str("`COPY events TO STDOUT`"),
            Self::Verify => f.write_str("`audit verify`"),
            Self::Export => f.write_str("`audit export`"),
            Self::VerifyExport => f.write_str("`credit-ledger-verify`"),
            Self::Replay => f.write_str("`audit replay`, through postgres-es"),
            Self::Rebuild(name) => write!(f, "`rebuild {name}`"),
        }
    }
}

/// How many rows there are: the server sends each in a message of its own.
async fn copy(database: &Database) -> anyhow::Result<u64> {
    let client = database
        .connect(Role::Auditor, &ConnectOptions::default())
        .await?;
    let rows = client.copy_out("copy events to stdout").await?;
    Ok(rows.try_fold(0, async |seen, _| Ok(seen + 1)).await?)
}
