//! Making a read model again from the log, while the service runs.
//!
//! A new table is filled in schema `rebuild`, chunk by chunk, by the very statement that the append runs. Then the
//! heads are locked, which holds up every append for as long as the last few events take; the rest is applied and the
//! new table takes the old one's place in the same transaction. Readers see one or the other.
//!
//! Only one rebuild runs at a time over all instances (an advisory lock).

use std::cmp::Ordering;
use std::time::{Duration, Instant};

use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, GenericClient, Transaction};

use super::{READ_MODELS, ReadModel};
use crate::postgres::{ConnectOptions, Database, PostgresError, Role, grant_privileges};

/// Positions in one chunk, each committed by itself.
const CHUNK_POSITIONS: i64 = 10_000;
/// How often the rest is chased without locking before the heads are locked.
const CHASES: usize = 5;
/// At a start, where there is no bar, how often a long rebuild says how far it is.
const PROGRESS_EVERY_S: u64 = 5;
/// How long appends, and readers of the old table, may have to wait for the switch. Then it gives way and tries again.
const SWITCH_WAIT: Duration = Duration::from_millis(300);
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

/// What a rebuild did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rebuilt {
    /// Which read model.
    pub name: &'static str,
    /// Positions of the log that it was made from.
    pub positions: i64,
}

/// Makes every read model that is missing, or whose SQL is not the one it was built with.
///
/// # Errors
/// [`RebuildError`].
pub async fn bring_up_to_date(database: &Database) -> Result<Vec<Rebuilt>, RebuildError> {
    let client = locked(database).await?;
    let mut rebuilt = Vec::new();
    for model in READ_MODELS {
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
            rebuilt.push(
                replace(database, model, &mut |done, of| {
                    let due = started.elapsed().as_secs() / PROGRESS_EVERY_S;
                    if due > said {
                        said = due;
                        tracing::info!(read_model = model.name, done, of, "rebuilding");
                    }
                })
                .await?,
            );
        }
    }
    Ok(rebuilt)
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
    let model = ReadModel::find(name).ok_or_else(|| RebuildError::Unknown(name.to_owned()))?;
    let _lock = locked(database).await?;
    replace(database, model, progress).await
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
    let options = ConnectOptions {
        application_name: "credit-ledger rebuild".to_owned(),
        lock_timeout: Some(SWITCH_WAIT),
        ..ConnectOptions::default()
    };
    let mut client = database.connect(Role::Owner, &options).await?;
    // Names without a schema mean the new table first, and the log where it always is.
    client
        .batch_execute("set search_path = rebuild, public; set client_min_messages = warning")
        .await?;
    client
        .batch_execute(&format!(
            "drop table if exists rebuild.{name}",
            name = model.name
        ))
        .await?;
    client.batch_execute(model.table_sql).await?;

    let mut done = Progress::new(&client).await?;
    for _ in 0..CHASES {
        let target = ends(&client).await?;
        let behind = done.behind(&target);
        fill(&mut client, model, &mut done, &target, progress).await?;
        if behind <= CHUNK_POSITIONS {
            break;
        }
    }
    for _ in 0..SWITCHES {
        match switch(&mut client, database, model, &mut done).await {
            Err(RebuildError::Query(error))
                if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => {}
            result => {
                let positions = result?;
                progress(positions, positions);
                return Ok(Rebuilt {
                    name: model.name,
                    positions,
                });
            }
        }
        tokio::time::sleep(SWITCH_PAUSE).await;
        let target = ends(&client).await?;
        fill(&mut client, model, &mut done, &target, progress).await?;
    }
    Err(RebuildError::InUse(model.name))
}

/// The last position that is applied, by shard.
struct Progress(Vec<(i16, i64)>);

impl Progress {
    async fn new(client: &Client) -> Result<Self, RebuildError> {
        let rows = client
            .query("select shard from heads order by shard", &[])
            .await?;
        Ok(Self(rows.iter().map(|row| (row.get("shard"), 0)).collect()))
    }

    fn behind(&self, ends: &[(i16, i64)]) -> i64 {
        self.0
            .iter()
            .zip(ends)
            .map(|((_, done), (_, end))| end - done)
            .sum()
    }
}

async fn ends(client: &impl GenericClient) -> Result<Vec<(i16, i64)>, RebuildError> {
    let rows = client
        .query("select shard, position from heads order by shard", &[])
        .await?;
    Ok(rows
        .iter()
        .map(|row| (row.get("shard"), row.get("position")))
        .collect())
}

/// Applies the log up to `target`, committing every chunk.
async fn fill(
    client: &mut Client,
    model: ReadModel,
    done: &mut Progress,
    target: &[(i16, i64)],
    progress: &mut (dyn FnMut(i64, i64) + Send),
) -> Result<(), RebuildError> {
    let total: i64 = target.iter().map(|(_, end)| end).sum();
    let mut applied = total - done.behind(target);
    for ((shard, position), (_, end)) in done.0.iter_mut().zip(target) {
        while *position < *end {
            let last = (*position + CHUNK_POSITIONS).min(*end);
            let transaction = client.transaction().await?;
            apply(&transaction, model, *shard, *position + 1, last).await?;
            transaction.commit().await?;
            applied += last - *position;
            *position = last;
            progress(applied, total);
        }
    }
    Ok(())
}

async fn apply(
    transaction: &Transaction<'_>,
    model: ReadModel,
    shard: i16,
    first: i64,
    last: i64,
) -> Result<(), RebuildError> {
    let sql = model.history_sql();
    transaction
        .execute(&sql, &[&shard, &first, &last, &model.handles()])
        .await?;
    Ok(())
}

/// Locks the heads, applies what is left, and puts the new table in the old one's place.
async fn switch(
    client: &mut Client,
    database: &Database,
    model: ReadModel,
    done: &mut Progress,
) -> Result<i64, RebuildError> {
    let transaction = client.transaction().await?;
    transaction
        .query("select shard from heads order by shard for update", &[])
        .await?;
    let target = ends(&transaction).await?;
    for ((shard, position), (_, end)) in done.0.iter().zip(&target) {
        if position < end {
            apply(&transaction, model, *shard, position + 1, *end).await?;
        }
    }
    let name = model.name;
    transaction
        .batch_execute(&format!(
            "drop table if exists public.{name}; alter table rebuild.{name} set schema public"
        ))
        .await?;
    if database.has_separate_roles() {
        grant_privileges(&transaction).await?;
    }
    transaction
        .execute(
            "insert into read_models (name, version, digest, built_at) values ($1, $2, $3, now())
                 on conflict (name) do update
                 set version = excluded.version, digest = excluded.digest, built_at = excluded.built_at",
            &[&name, &model.version, &model.digest()],
        )
        .await?;
    transaction.commit().await?;
    // Only now: a switch that gave way has applied nothing.
    let total = target.iter().map(|(_, end)| end).sum();
    done.0 = target;
    Ok(total)
}
