//! A table in the making: filled from the log, compared, and put in the live one's place.

use std::time::Duration;

use tokio_postgres::{Client, GenericClient, IsolationLevel, Transaction};

use super::compare::{self, Comparison};
use super::{ReadModel, RebuildError};
use crate::postgres::{ConnectOptions, Database, Role, grant_privileges};

/// Positions in one chunk, each committed by itself.
const CHUNK_POSITIONS: i64 = 10_000;
/// How often the rest is chased without locking.
const CHASES: usize = 5;
/// How long appends, and readers of the old table, may have to wait for the switch. Then it gives way and tries again.
const SWITCH_WAIT: Duration = Duration::from_millis(300);

/// How long this may stand still with locks in its hands, those of the heads among them, before the server ends it. Every
/// append waits for it meanwhile.
const IDLE_MAX: Duration = Duration::from_secs(3);

/// A table in the making.
pub(super) struct Making {
    client: Client,
    model: ReadModel,
    done: Progress,
}

impl Making {
    /// Begins with an empty table.
    pub(super) async fn begin(database: &Database, model: ReadModel) -> Result<Self, RebuildError> {
        let options = ConnectOptions {
            application_name: "credit-ledger rebuild".to_owned(),
            lock_timeout: Some(SWITCH_WAIT),
            idle_in_transaction_session_timeout: Some(IDLE_MAX),
            ..ConnectOptions::default()
        };
        let client = database.connect(Role::Owner, &options).await?;
        // Names without a schema mean the new table first, and the log where it always is.
        client
            .batch_execute("set search_path = rebuild, public; set client_min_messages = warning")
            .await?;
        let done = Progress::new(&client).await?;
        let making = Self {
            client,
            model,
            done,
        };
        forget(&making.client).await?;
        making.client.batch_execute(model.table_sql).await?;
        Ok(making)
    }

    pub(super) const fn name(&self) -> &'static str {
        self.model.name
    }

    /// Ends without a switch. Nothing of it may stay: it can hold personal data, and nobody would erase it there.
    pub(super) async fn forget(&self) -> Result<(), RebuildError> {
        forget(&self.client).await
    }

    /// Fills the table and compares it. Says of how many positions it is. `list` as of [`compare::compare`].
    pub(super) async fn make(
        &mut self,
        list: bool,
        progress: &mut (dyn FnMut(i64, i64) + Send),
    ) -> Result<(i64, Option<Comparison>), RebuildError> {
        self.chase(progress).await?;
        let snapshot = self
            .client
            .build_transaction()
            .isolation_level(IsolationLevel::RepeatableRead)
            .start()
            .await?;
        let target = ends(&snapshot).await?;
        self.done.apply_rest(&snapshot, self.model, &target).await?;
        let comparison = compare::compare(&snapshot, self.model, list).await?;
        snapshot.commit().await?;
        let total = sum(&target);
        self.done.0 = target;
        Ok((total, comparison))
    }

    /// Comes close to the end of the log, which moves on.
    pub(super) async fn chase(
        &mut self,
        progress: &mut (dyn FnMut(i64, i64) + Send),
    ) -> Result<(), RebuildError> {
        for _ in 0..CHASES {
            let target = ends(&self.client).await?;
            let behind = self.done.behind(&target);
            self.fill(&target, progress).await?;
            if behind <= CHUNK_POSITIONS {
                break;
            }
        }
        Ok(())
    }

    /// Applies the log up to `target`, committing every chunk.
    async fn fill(
        &mut self,
        target: &[(i16, i64)],
        progress: &mut (dyn FnMut(i64, i64) + Send),
    ) -> Result<(), RebuildError> {
        let total = sum(target);
        let mut applied = total - self.done.behind(target);
        for ((shard, position), (_, end)) in self.done.0.iter_mut().zip(target) {
            while *position < *end {
                let last = (*position + CHUNK_POSITIONS).min(*end);
                let transaction = self.client.transaction().await?;
                apply(&transaction, self.model, *shard, *position + 1, last).await?;
                transaction.commit().await?;
                applied += last - *position;
                *position = last;
                progress(applied, total);
            }
        }
        Ok(())
    }

    /// Locks the heads, applies what is left, and puts the new table in the old one's place.
    pub(super) async fn switch(&mut self, database: &Database) -> Result<i64, RebuildError> {
        let model = self.model;
        let transaction = self.client.transaction().await?;
        transaction
            .query("select shard from heads order by shard for update", &[])
            .await?;
        let target = ends(&transaction).await?;
        self.done.apply_rest(&transaction, model, &target).await?;
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
        let total = sum(&target);
        self.done.0 = target;
        Ok(total)
    }
}

/// Whether there is a table in the making: somebody is at it, or was cut off.
pub(super) async fn are_left(client: &Client) -> Result<bool, RebuildError> {
    Ok(leftovers(client).await?.is_some())
}

/// Drops every table in the making. Whoever calls this has the lock of rebuilds, so nobody is at work on one.
pub(super) async fn forget(client: &Client) -> Result<(), RebuildError> {
    match leftovers(client).await? {
        None => Ok(()),
        Some(tables) => Ok(client
            .batch_execute(&format!("drop table {tables}"))
            .await?),
    }
}

async fn leftovers(client: &Client) -> Result<Option<String>, RebuildError> {
    let sql = include_str!("../sql/select_leftovers.sql");
    Ok(client.query_one(sql, &[]).await?.get("tables"))
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

    /// Applies what is between this and `target`, in a transaction that may yet be rolled back.
    async fn apply_rest(
        &self,
        transaction: &Transaction<'_>,
        model: ReadModel,
        target: &[(i16, i64)],
    ) -> Result<(), RebuildError> {
        for ((shard, position), (_, end)) in self.0.iter().zip(target) {
            if position < end {
                apply(transaction, model, *shard, position + 1, *end).await?;
            }
        }
        Ok(())
    }
}

/// All positions up to these ends: they are dense.
fn sum(ends: &[(i16, i64)]) -> i64 {
    ends.iter().map(|(_, end)| end).sum()
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
