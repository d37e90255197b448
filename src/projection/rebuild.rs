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

/// The same for the read models of another release. A rebuild that goes on elsewhere is waited for only if something is to
/// be made. What one left that was cut off goes.
///
/// # Errors
/// [`RebuildError`].
pub async fn bring_models_up_to_date(
    database: &Database,
    models: &[ReadModel],
) -> Result<Vec<Rebuilt>, RebuildError> {
    let client = connect(database).await?;
    if stale(&client, models).await?.is_empty() {
        if making::are_left(&client).await? && try_lock(&client).await? {
            making::forget(&client).await?;
        }
        return Ok(vec![]);
    }
    lock(&client).await?;
    making::forget(&client).await?;
    let mut rebuilt = Vec::new();
    // Looked at anew: whoever had the lock may have made them.
    for model in stale(&client, models).await? {
        let (mut said, started) = (0, Instant::now());
        let one = replace(database, model, false, &mut |done, of| {
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
    Ok(rebuilt)
}

/// Those that are to be made: not there yet, made by an older release, or changed without a new version, since somebody
/// is at work on them. What a newer release made is left alone.
async fn stale(client: &Client, models: &[ReadModel]) -> Result<Vec<ReadModel>, RebuildError> {
    let sql = include_str!("sql/select_version.sql");
    let mut stale = Vec::new();
    for model in models.iter().copied() {
        let row = client.query_opt(sql, &[&model.name]).await?;
        let good = row.is_some_and(|row| {
            let version: i32 = row.get("version");
            version > model.version || model.is_of(version, row.get("digest"))
        });
        if !good {
            stale.push(model);
        }
    }
    Ok(stale)
}

/// At a start there is nobody to read a list, so none is made; `rebuild --check` says which rows differ.
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
    replace(database, model, true, progress).await
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
    let made = making.make(true, progress).await;
    let forgotten = making.forget().await;
    let (positions, comparison) = made?;
    forgotten?;
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
    let client = connect(database).await?;
    lock(&client).await?;
    Ok(client)
}

async fn connect(database: &Database) -> Result<Client, RebuildError> {
    let options = ConnectOptions {
        application_name: "credit-ledger rebuild lock".to_owned(),
        ..ConnectOptions::default()
    };
    Ok(database.connect(Role::Owner, &options).await?)
}

/// Waits for the lock of rebuilds, for as long as another rebuild takes.
async fn lock(client: &Client) -> Result<(), RebuildError> {
    if !try_lock(client).await? {
        tracing::info!("another rebuild is at work; waiting for its end");
        let sql = "select pg_advisory_lock($1)";
        client.query_one(sql, &[&ADVISORY_LOCK]).await?;
    }
    Ok(())
}

async fn try_lock(client: &Client) -> Result<bool, RebuildError> {
    let sql = "select pg_try_advisory_lock($1) as taken";
    Ok(client.query_one(sql, &[&ADVISORY_LOCK]).await?.get("taken"))
}

async fn replace(
    database: &Database,
    model: ReadModel,
    list: bool,
    progress: &mut (dyn FnMut(i64, i64) + Send),
) -> Result<Rebuilt, RebuildError> {
    let mut making = Making::begin(database, model).await?;
    let replaced = try_replace(database, &mut making, list, progress).await;
    if replaced.is_err() {
        // What went wrong says more than that this did, too; the next rebuild or start tries again.
        let _ = making.forget().await;
    }
    let (positions, comparison) = replaced?;
    Ok(Rebuilt {
        name: model.name,
        positions,
        comparison,
    })
}

async fn try_replace(
    database: &Database,
    making: &mut Making,
    list: bool,
    progress: &mut (dyn FnMut(i64, i64) + Send),
) -> Result<(i64, Option<Comparison>), RebuildError> {
    let (_, comparison) = making.make(list, progress).await?;
    making.chase(progress).await?;
    for _ in 0..SWITCHES {
        match making.switch(database).await {
            Err(RebuildError::Query(error))
                if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => {}
            result => {
                let positions = result?;
                progress(positions, positions);
                return Ok((positions, comparison));
            }
        }
        tokio::time::sleep(SWITCH_PAUSE).await;
        making.chase(progress).await?;
    }
    Err(RebuildError::InUse(making.name()))
}
