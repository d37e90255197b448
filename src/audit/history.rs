//! Events as the rules know them, read from rows of the log.
//!
//! Must never read anything but `events`.

use chrono::{DateTime, Utc};
use tokio_postgres::Row;

use super::snapshot::SnapshotError;
use crate::ledger::{Event, LedgerError, Place, StreamId};

/// Why the history can not be read.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The database can not be reached.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// A query failed.
    #[error("reading the history: {0}")]
    Query(#[from] tokio_postgres::Error),
    /// An event is not what this version knows. Says where, not what.
    #[error("the event at {0} can not be read")]
    Unreadable(Place),
    /// The rules refuse to say what ended by itself: the history contradicts itself.
    #[error("what a user has can not be worked out: {0}")]
    Contradiction(#[from] LedgerError),
}

/// An event where it is in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Where.
    pub place: Place,
    /// When.
    pub recorded_at: DateTime<Utc>,
    /// Whose.
    pub stream: StreamId,
    /// Its place in the stream.
    pub sequence: i64,
    /// What happened.
    pub event: Event,
    /// Who caused it, as it is stored.
    pub cause: Cause,
}

/// What an event says of its cause. Events of one unit say the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cause {
    /// Who.
    pub source: String,
    /// By which event of a provider.
    pub provider_event_id: Option<String>,
    /// What else there is, JSON.
    pub metadata: String,
}

/// Reads a row of the columns `shard`, `position`, `recorded_at`, `aggregate_type`, `aggregate_id`, `sequence`,
/// `payload` (text), `source`, `provider_event_id`, `metadata` (text).
///
/// # Errors
/// [`HistoryError::Unreadable`] for what this version does not know.
pub fn recorded(row: &Row) -> Result<Recorded, HistoryError> {
    let place = Place {
        shard: row.try_get("shard")?,
        position: row.try_get("position")?,
    };
    let unreadable = || HistoryError::Unreadable(place);
    let stream = StreamId::parse(row.try_get("aggregate_type")?, row.try_get("aggregate_id")?)
        .map_err(|_| unreadable())?;
    let payload: &str = row.try_get("payload")?;
    let event = match &stream {
        StreamId::User(_) => serde_json::from_str(payload).map(Event::User),
        StreamId::Purchase(_) => serde_json::from_str(payload).map(Event::Purchase),
    };
    Ok(Recorded {
        place,
        recorded_at: row.try_get("recorded_at")?,
        stream,
        sequence: row.try_get("sequence")?,
        event: event.map_err(|_| unreadable())?,
        cause: Cause {
            source: row.try_get("source")?,
            provider_event_id: row.try_get("provider_event_id")?,
            metadata: row.try_get("metadata")?,
        },
    })
}
