//! Seals: every few seconds the service says, signed, which events there are, and tells those who watch it.
//!
//! One task per instance, one sealer at a time over all of them. It reads what is committed and locks nothing that a
//! writer needs. What a seal says, and how it is proven, is defined in [`credit_ledger_verify::seal`].
//!
//! - `rows`: what is read and written.
//! - `sealing`: new events into a seal, on top of what was sealed before, if that is still there.
//! - [`witness`]: those who are told: a file and a server of somebody else's.
//! - [`proof`]: proofs for auditors.
//! - [`numbers`]: how far it is, in metrics.
//! - [`task`]: when all of this is done.
//!
//! Must never change or remove anything, seal on top of a history that is not the one that was sealed, or show the key.

pub mod numbers;
pub mod proof;
pub(super) mod rows;
mod sealing;
pub mod task;
pub mod witness;

use std::sync::Arc;
use std::time::Duration;

use credit_ledger_verify::seal::SealKey;
use deadpool_postgres::{Pool, PoolError};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::config::SealSettings;
use crate::outbound::{OutboundError, WitnessApi};
use crate::postgres::{ConnectOptions, Database, Late, PoolOptions, PostgresError, Role};
use crate::store::{ClockCheck, ClockOff};
use crate::telemetry::Telemetry;
use numbers::Numbers;
pub use rows::State;
pub use sealing::Round;
use witness::{FileError, WitnessFile, WitnessUrl};

/// The most events in a seal: a proof reads all of them, and a seal is built in memory.
pub const EVENTS_MAX: i64 = 65_536;

/// What was sealed is not what is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Changed {
    /// An event that must be there is not.
    #[error("shard {0} has no event at position {1}")]
    Hole(i16, i64),
    /// An event is another than the one that was sealed, or that the shard's head names.
    #[error("the event at position {1} of shard {0} is another one")]
    Event(i16, i64),
    /// A shard ends before what was sealed of it, or is not there.
    #[error("shard {0} ends before position {1}, which was sealed")]
    Shorter(i16, i64),
    /// A seal is not what the tree of seals says.
    #[error("seal {0} is not the one that was made")]
    Seal(i64),
}

/// A witness knows better than the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RolledBack {
    /// It knows a seal that is not there.
    #[error("a witness knows seal {0}, and the database has none of this number")]
    Gone(i64),
    /// It knows another one.
    #[error("a witness knows another seal {0} than the database")]
    Other(i64),
}

/// Why something about seals could not be done.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// No connection in time.
    #[error("no connection: {0}")]
    Pool(#[from] PoolError),
    /// No answer in time.
    #[error(transparent)]
    Late(#[from] Late),
    /// A statement failed.
    #[error("the statement failed: {0}")]
    Query(#[from] tokio_postgres::Error),
    /// The database holds what this version can not read.
    #[error("a stored seal can not be read")]
    Unreadable,
    /// The history is not the one that was sealed.
    #[error("the history was changed after it was sealed: {0}")]
    Changed(#[from] Changed),
    /// Seals were taken back.
    #[error("seals were taken back: {0}")]
    RolledBack(#[from] RolledBack),
    /// The file of a witness can not be used.
    #[error("the witness file: {0}")]
    File(#[from] FileError),
    /// The server of a witness did not take a seal.
    #[error("the witness did not take seal {seal}: {error}")]
    Witness {
        /// Which.
        seal: i64,
        /// Why.
        error: OutboundError,
    },
    /// What is sealed now would bear a wrong time, and all seals after it.
    #[error(transparent)]
    Clock(#[from] ClockOff),
    /// The work was cut off.
    #[error("the work was cut off")]
    CutOff,
}

/// Makes seals, and tells the witnesses.
pub struct Sealer {
    pool: Pool,
    key: SealKey,
    clock: Arc<ClockCheck>,
    events_max: i64,
    file: Option<WitnessFile>,
    url: Option<WitnessUrl>,
    numbers: Numbers,
    /// When the numbers that are shown were begun to be asked for. Whoever holds the lock is the one that asks.
    shown: Arc<Mutex<Option<Instant>>>,
}

impl Sealer {
    /// By these settings, with few connections of its own. `witness`: the server that is told.
    ///
    /// # Errors
    /// [`PostgresError`] when there can be no pool.
    pub fn new(
        database: &Database,
        settings: &SealSettings,
        witness: Option<WitnessApi>,
        clock: Arc<ClockCheck>,
        telemetry: &Telemetry,
    ) -> Result<Arc<Self>, PostgresError> {
        let file = settings.witness_file.clone().map(WitnessFile::at);
        let url = witness.map(WitnessUrl::of);
        Ok(Arc::new(Self {
            pool: database.pool(Role::App, &pool_options())?,
            key: settings.key.clone(),
            clock,
            events_max: settings.events_max,
            numbers: Numbers::new(telemetry, file.is_some(), url.is_some()),
            shown: Arc::default(),
            file,
            url,
        }))
    }
}

/// One connection seals, one tells the server of a witness, whose answers it waits for within its transaction.
fn pool_options() -> PoolOptions {
    PoolOptions {
        max_size: 2,
        wait_timeout: Duration::from_secs(5),
        connect: ConnectOptions {
            application_name: "credit-ledger seals".to_owned(),
            statement_timeout: Some(Duration::from_secs(30)),
            lock_timeout: Some(Duration::from_secs(5)),
            // Longer than a server may be told in one turn. Whoever stands still in the middle of it lets another do it.
            idle_in_transaction_session_timeout: Some(Duration::from_secs(30)),
            ..ConnectOptions::default()
        },
    }
}
