//! One moment of the database, as the auditor's role sees it: read only, however much is written meanwhile.
//!
//! Whatever is read comes as a stream that the connection holds back while nobody takes from it, or in pages: memory does
//! not grow with what is read. The server keeps dead rows for as long as the moment lasts.

use std::pin::Pin;

use deadpool_postgres::{Object, PoolError, Transaction};
use tokio_postgres::types::ToSql;
use tokio_postgres::{IsolationLevel, Row, RowStream};

use super::rows::UnreadableRow;
use super::seal::SealError;
use crate::postgres::{ConnectOptions, Database, PoolOptions, PostgresError, Role};
use crate::projection::READ_MODELS;

const COUNT_ROWS: &str = include_str!("sql/count_rows.sql");

/// Why something could not be read.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The database can not be reached.
    #[error(transparent)]
    Postgres(#[from] PostgresError),
    /// No connection.
    #[error("no connection: {0}")]
    Pool(#[from] PoolError),
    /// A query failed.
    #[error("reading: {0}")]
    Query(#[from] tokio_postgres::Error),
    /// What is sealed could not be read, or is not what was sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// A row holds what it never may.
    #[error(transparent)]
    Row(#[from] UnreadableRow),
}

/// A connection of the auditor's role.
///
/// # Errors
/// [`SnapshotError`] when the database can not be reached.
pub async fn connect(database: &Database) -> Result<Object, SnapshotError> {
    // No time-out: a long history takes long.
    let options = PoolOptions {
        max_size: 1,
        connect: ConnectOptions {
            application_name: "credit-ledger audit".to_owned(),
            ..ConnectOptions::default()
        },
        ..PoolOptions::for_reads(1)
    };
    Ok(database.pool(Role::Auditor, &options)?.get().await?)
}

/// A moment. It ends when this is dropped.
pub struct Snapshot<'a>(Transaction<'a>);

impl<'a> Snapshot<'a> {
    /// From now on all is as it is now.
    ///
    /// # Errors
    /// [`SnapshotError`] when the database does not answer.
    pub async fn begin(connection: &'a mut Object) -> Result<Self, SnapshotError> {
        let transaction = connection
            .build_transaction()
            .isolation_level(IsolationLevel::RepeatableRead)
            .read_only(true)
            .start();
        Ok(Self(transaction.await?))
    }

    /// The same, with the read models as they are: none of them is made again while it lasts. A table that takes another's
    /// place shows a moment before that only what was in it by then.
    ///
    /// # Errors
    /// [`SnapshotError`] when the database does not answer.
    pub async fn begin_with_read_models(connection: &'a mut Object) -> Result<Self, SnapshotError> {
        let snapshot = Self::begin(connection).await?;
        // Before the first query, which is what begins the moment.
        snapshot.0.batch_execute(&hold_read_models()).await?;
        Ok(snapshot)
    }

    /// The transaction.
    pub const fn transaction(&self) -> &Transaction<'a> {
        &self.0
    }

    /// All rows of a short list.
    ///
    /// # Errors
    /// [`SnapshotError::Query`]
    pub async fn list(
        &self,
        sql: &str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, SnapshotError> {
        let statement = self.0.prepare_cached(sql).await?;
        Ok(self.0.query(&statement, params).await?)
    }

    /// The rows of a long one, as they come. Nothing else may be asked for until they are all taken.
    ///
    /// # Errors
    /// [`SnapshotError::Query`]
    pub async fn stream(
        &self,
        sql: &str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Pin<Box<RowStream>>, SnapshotError> {
        let rows = self.0.query_raw(sql, params.iter().copied()).await?;
        Ok(Box::pin(rows))
    }

    /// How many records there are, for a bar.
    ///
    /// # Errors
    /// [`SnapshotError::Query`]
    pub async fn count(&self) -> Result<u64, SnapshotError> {
        let rows = self.list(COUNT_ROWS, &[]).await?;
        let number = |name| {
            let number = rows.first().map(|row| row.try_get::<_, i64>(name));
            Ok::<_, SnapshotError>(number.transpose()?.unwrap_or(0).unsigned_abs())
        };
        Ok(number("events")? + number("others")?)
    }
}

/// Keeps the read models where they are until the transaction ends. Whoever makes one again waits for some minutes.
pub(super) fn hold_read_models() -> String {
    let names = READ_MODELS.map(|model| model.name);
    format!("lock table {} in access share mode", names.join(", "))
}

/// Hears how many records of how many were seen.
pub type Progress<'a> = &'a mut (dyn FnMut(u64, u64) + Send);

/// Counts records, and tells every thousand.
pub struct Count<'a> {
    done: u64,
    of: u64,
    progress: Progress<'a>,
}

impl<'a> Count<'a> {
    /// Begins; `of`: about how many there are.
    pub const fn new(of: u64, progress: Progress<'a>) -> Self {
        Self {
            done: 0,
            of,
            progress,
        }
    }

    /// So many more.
    pub fn add(&mut self, records: u64) {
        let told = self.done / 1000;
        self.done += records;
        if self.done / 1000 > told {
            (self.progress)(self.done, self.of.max(self.done));
        }
    }
}
