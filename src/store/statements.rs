//! The prepared statements of one lane connection, and what their errors mean.
//!
//! The texts live in `sql/`, one statement per file.

use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Error, Statement};

use super::rows::RowStatements;
use crate::projection::READ_MODELS;

/// Everything that a batch runs, prepared once per connection.
pub(super) struct Statements {
    pub(super) lock_heads: Statement,
    pub(super) lock_retried: Statement,
    pub(super) select_inbox: Statement,
    pub(super) select_requests: Statement,
    pub(super) select_streams: Statement,
    pub(super) insert_inbox: Statement,
    pub(super) count_deliveries: Statement,
    pub(super) update_retried: Statement,
    pub(super) insert_homes: Statement,
    pub(super) insert_requests: Statement,
    pub(super) insert_events: Statement,
    pub(super) insert_personal: Statement,
    pub(super) delete_personal: Statement,
    pub(super) insert_outbox: Statement,
    pub(super) insert_streams: Statement,
    pub(super) update_streams: Statement,
    pub(super) upsert_lots: Statement,
    pub(super) delete_lots: Statement,
    pub(super) insert_holds: Statement,
    pub(super) delete_holds: Statement,
    pub(super) insert_settlements: Statement,
    pub(super) update_heads: Statement,
    pub(super) rows: RowStatements,
    pub(super) read_models: Vec<ApplyStatement>,
}

/// The statement of one read model, and which events concern it.
pub(super) struct ApplyStatement {
    pub(super) handles: Vec<&'static str>,
    pub(super) statement: Statement,
}

impl Statements {
    pub(super) async fn prepare(client: &Client) -> Result<Self, Error> {
        let mut read_models = Vec::with_capacity(READ_MODELS.len());
        for model in READ_MODELS {
            read_models.push(ApplyStatement {
                handles: model.handles(),
                statement: client.prepare(&model.live_sql()).await?,
            });
        }
        Ok(Self {
            lock_heads: client.prepare(include_str!("sql/lock_heads.sql")).await?,
            lock_retried: client.prepare(include_str!("sql/lock_retried.sql")).await?,
            select_inbox: client.prepare(include_str!("sql/select_inbox.sql")).await?,
            select_requests: client
                .prepare(include_str!("sql/select_requests.sql"))
                .await?,
            select_streams: client
                .prepare(include_str!("sql/select_streams.sql"))
                .await?,
            insert_inbox: client.prepare(include_str!("sql/insert_inbox.sql")).await?,
            count_deliveries: client
                .prepare(include_str!("sql/count_deliveries.sql"))
                .await?,
            update_retried: client
                .prepare(include_str!("sql/update_retried.sql"))
                .await?,
            insert_homes: client.prepare(include_str!("sql/insert_homes.sql")).await?,
            insert_requests: client
                .prepare(include_str!("sql/insert_requests.sql"))
                .await?,
            insert_events: client
                .prepare(include_str!("sql/insert_events.sql"))
                .await?,
            insert_personal: client
                .prepare(include_str!("sql/insert_personal.sql"))
                .await?,
            delete_personal: client
                .prepare(include_str!("sql/delete_personal.sql"))
                .await?,
            insert_outbox: client
                .prepare(include_str!("sql/insert_outbox.sql"))
                .await?,
            insert_streams: client
                .prepare(include_str!("sql/insert_streams.sql"))
                .await?,
            update_streams: client
                .prepare(include_str!("sql/update_streams.sql"))
                .await?,
            upsert_lots: client.prepare(include_str!("sql/upsert_lots.sql")).await?,
            delete_lots: client.prepare(include_str!("sql/delete_lots.sql")).await?,
            insert_holds: client.prepare(include_str!("sql/insert_holds.sql")).await?,
            delete_holds: client.prepare(include_str!("sql/delete_holds.sql")).await?,
            insert_settlements: client
                .prepare(include_str!("sql/insert_settlements.sql"))
                .await?,
            update_heads: client.prepare(include_str!("sql/update_heads.sql")).await?,
            rows: RowStatements::prepare(client).await?,
            read_models,
        })
    }
}

/// What a failed statement means for its batch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    /// The connection is gone. After a `commit` was sent, the outcome is not known.
    #[error("connection lost: {0}")]
    Lost(String),
    /// Another instance was in the way in the same moment: it took a key, which answers when the batch is run again, or
    /// PostgreSQL chose one of two to give way. `0` is the SQLSTATE.
    #[error("another instance was in the way (SQLSTATE {0})")]
    Collided(String),
    /// The database can not take any batch like this now: a lock was held too long, it is starting or stopping, it is
    /// full, its schema is not ours.
    #[error("the database is busy: {0}")]
    Busy(String),
    /// The database refuses this batch: something in it can not be stored. The SQLSTATE, and where; never what.
    #[error("SQLSTATE {0} at {1}")]
    Data(String, String),
}

impl From<Error> for StatementError {
    fn from(error: Error) -> Self {
        let Some(db) = error.as_db_error() else {
            return Self::Lost(error.to_string());
        };
        let code = db.code().code();
        let taken = matches!(
            db.constraint(),
            Some("inbox_pkey" | "homes_pkey" | "requests_pkey")
        );
        if *db.code() == SqlState::UNIQUE_VIOLATION && taken {
            return Self::Collided(code.to_owned());
        }
        let message = db.message().to_owned();
        match code {
            "40001" | "40P01" => Self::Collided(code.to_owned()),
            // Terminated by an operator, a crash, or our own idle limit; or a pooler lost the server behind it.
            "57P01" | "57P02" | "57P03" | "25P03" | "57P05" => Self::Lost(message),
            code if code.starts_with("08") => Self::Lost(message),
            // Aborted by an earlier statement of the pipeline, whose own error says why.
            "25P02" => Self::Busy("an earlier statement failed".to_owned()),
            // Values that can not be stored, constraints, limits of size: of these units, not of the database.
            code if ["21", "22", "23", "54"]
                .iter()
                .any(|class| code.starts_with(class)) =>
            {
                let place = db.constraint().or(db.column()).or(db.table());
                Self::Data(code.to_owned(), place.unwrap_or("a value").to_owned())
            }
            // Locks, resources, disk full, read-only while a standby takes over; and what is wrong for
            // every unit alike: a missing table or right.
            code => Self::Busy(format!("SQLSTATE {code}: {message}")),
        }
    }
}
