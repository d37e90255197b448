//! What goes over the whole history once, each timed beside `COPY events TO STDOUT` of the same table.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::ensure;
use credit_ledger::audit::replay;
use credit_ledger::postgres::{ConnectOptions, Database, Role};
use credit_ledger::projection::{READ_MODELS, rebuild};
use futures_util::TryStreamExt as _;

/// One way to go over all events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// `COPY events TO STDOUT`, thrown away: the fastest that PostgreSQL gives the table away.
    Copy,
    /// `audit replay`: stock postgres-es.
    Replay,
    /// `rebuild` of a read model.
    Rebuild(&'static str),
}

impl Pass {
    /// All of them, in the order in which they are run.
    pub fn all() -> Vec<Self> {
        let rebuilds = READ_MODELS.iter().map(|model| Self::Rebuild(model.name));
        [Self::Copy, Self::Replay]
            .into_iter()
            .chain(rebuilds)
            .collect()
    }

    /// Goes over everything. Fails unless all of it was seen and nothing is wrong with it.
    ///
    /// # Errors
    /// What failed, or what is wrong.
    pub async fn run(self, database: &Database, events: u64) -> anyhow::Result<Duration> {
        let begin = Instant::now();
        let seen = match self {
            Self::Copy => copy(database).await?,
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
        ensure!(seen == events, "{self}: {seen} events of {events}");
        Ok(begin.elapsed())
    }
}

impl fmt::Display for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Copy => f.write_str("`COPY events TO STDOUT`"),
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
