//! Making a read model again from the log, while the service runs.
//!
//! A new table is filled in schema `rebuild`, chunk by chunk, by the very statement that the append runs. In one snapshot
//! it is brought to where the log is and compared with the live table, row by row, while everybody goes on. Then the
//! heads are locked, which holds up every append for as long as the last few events take; the rest is applied and the
//! new table takes the old one's place in the same transaction. Readers see one or the other.
//!
//! Only one rebuild runs at a time over all instances (an advisory lock).

mod compare;
mod making;

use std::cmp::Ordering;
use std::time::{Duration, Instant};

use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use super::{READ_MODELS, ReadModel};
use crate::postgres::{ConnectOptions, Database, PostgresError, Role};
pub use compare::{
    ColumnDifference, Comparison, Differences, Fault, LISTED, RowDifference, RowDifferences,
};
use making::Making;

/// At a start, where there is no bar, how often a long rebuild says how far it is.
const PROGRESS_EVERY_S: u64 = 5;
/// Between two tries.
const SWITCH_PAUSE: Duration = Duration::from_millis(700);
/// About five minutes.
const SWITCHES: usize = 300;
/// "credits" in ASCII: one rebuild at a time in a database.
const ADVISORY_LOCK: i64 = 0x0063_7265_6469_7473;

/// Why a read model could not be made again. The old one is still in place.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// No such read model.
    #[error("no read model is called `{0}`; there are: {names}", names = READ_MODELS.map(|model| model.name).join(", "))]
    Unknown(String),
    /// Something held a lock on the old table for so long that the new one could not take its place.
    #[error("{0}: its table is in use by a long transaction; try again when that has ended")]
    InUse(&'static str),
    /// The database can not be reached.
    #[error(transparent)]
    Postgres(#[from] PostgresError),
    /// A statement failed.
    #[error("rebuilding: {0}")]
    Query(#[from] tokio_postgres::Error),
}

/// What a rebuild did, or a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rebuilt {
    /// Which read model.
    pub name: &'static str,
    /// Positions of the log that it was made from.
    pub positions: i64,
    /// What the live table was before; `None`: there was none.
    pub comparison: Option<Comparison>,
}

impl Rebuilt {
    /// Whether the live table was not what its own SQL makes of the log.
    pub fn was_broken(&self) -> bool {
        self.comparison.as_ref().is_some_and(Comparison::is_broken)
    }
}

/// Makes every read model that is missing, or whose SQL is not the one it was built with.
///
/// # Errors
/// [`RebuildError`].
pub async fn bring_up_to_date(database: &Database) -> Result<Vec<Rebuilt>, RebuildError> {
    bring_models_up_to_date(database, &READ_MODELS).await
}

/// The same for the read models of another release.
///
/// # Errors
/// [`RebuildError`].
pub async fn bring_models_up_to_date(
    database: &Database,
    models: &[ReadModel],
) -> Result<Vec<Rebuilt>, RebuildError> {
    let client = locked(database).await?;
    let mut rebuilt = Vec::new();
    for model in models.iter().copied() {
        let sql = "select version, digest from read_models where name = $1";
        let stale = match client.query_opt(sql, &[&model.name]).await? {
            None => true,
            Some(row) => match row.get::<_, i32>("version").cmp(&model.version) {
                Ordering::Less => true,
                // Changed without a new version: somebody is at work on it.
                Ordering::Equal => row.get::<_, String>("digest") != model.digest(),
                // A newer release runs on this database.
                Ordering::Greater => false,
            },
        };
        if stale {
            let (mut said, started) = (0, Instant::now());
            let one = replace(database, model, &mut |done, of| {
                let due = started.elapsed().as_secs() / PROGRESS_EVERY_S;
                if due > said {
                    said = due;
                    tracing::info!(read_model = model.name, done, of, "rebuilding");
                }
            })
            .await?;
            log(&one);
            rebuilt.push(one);
        }
    }
    Ok(rebuilt)
}

/// At a start there is nobody to read a list; `rebuild --check` says which rows differ.
fn log(rebuilt: &Rebuilt) {
    let Rebuilt {
        name,
        positions,
        comparison,
    } = rebuilt;
    match comparison {
        None => tracing::info!(read_model = name, positions, "made"),
        Some(Comparison {
            made_by,
            differences,
            ..
        }) => tracing::info!(
            read_model = name,
            positions,
            made_by_version = made_by,
            %differences,
            "made again: its SQL changed"
        ),
    }
}

/// Makes one read model again. `progress` hears how many positions of how many are done.
///
/// # Errors
/// [`RebuildError`].
pub async fn rebuild(
    database: &Database,
    name: &str,
    progress: &mut (dyn FnMut(i64, i64) + Send),
) -> Result<Rebuilt, RebuildError> {
    let model = find(name)?;
    let _lock = locked(database).await?;
    replace(database, model, progress).await
}

/// Compares one read model with what the log makes of it, and changes nothing. `progress` as of [`rebuild`].
///
/// # Errors
/// [`RebuildError`].
pub async fn check(
    database: &Database,
    name: &str,
    progress: &mut (dyn FnMut(i64, i64) + Send),
) -> Result<Rebuilt, RebuildError> {
    let model = find(name)?;
    let _lock = locked(database).await?;
    let mut making = Making::begin(database, model).await?;
    let (positions, comparison) = making.make(progress).await?;
    making.forget().await?;
    Ok(Rebuilt {
        name: model.name,
        positions,
        comparison,
    })
}

fn find(name: &str) -> Result<ReadModel, RebuildError> {
    ReadModel::find(name).ok_or_else(|| RebuildError::Unknown(name.to_owned()))
}

/// A session that holds the lock of rebuilds until it is dropped.
async fn locked(database: &Database) -> Result<Client, RebuildError> {
    let options = ConnectOptions {
        application_name: "credit-ledger rebuild lock".to_owned(),
        ..ConnectOptions::default()
    };
    let client = database.connect(Role::Owner, &options).await?;
    client
        .query("select pg_advisory_lock($1)", &[&ADVISORY_LOCK])
        .await?;
    Ok(client)
}

async fn replace(
    database: &Database,
    model: ReadModel,
    progress: &mut (dyn FnMut(i64, i64) + Send),
) -> Result<Rebuilt, RebuildError> {
    let mut making = Making::begin(database, model).await?;
    let (_, comparison) = making.make(progress).await?;
    making.chase(progress).await?;
    for _ in 0..SWITCHES {
        match making.switch(database).await {
            Err(RebuildError::Query(error))
                if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => {}
            result => {
                let positions = result?;
                progress(positions, positions);
                return Ok(Rebuilt {
                    name: model.name,
                    positions,
                    comparison,
                });
            }
        }
        tokio::time::sleep(SWITCH_PAUSE).await;
        making.chase(progress).await?;
    }
    Err(RebuildError::InUse(model.name))
}
