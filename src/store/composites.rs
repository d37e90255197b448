//! The rows of a batch as PostgreSQL takes them and gives them: one type for each of those that
//! `sql/create_row_types.sql` makes, with the same names of type and fields, borrowed from what is sent.
//!
//! Only shapes; must never decide anything.

mod deliveries;

use chrono::{DateTime, Utc};
use postgres_types::{FromSql, ToSql};

use super::append::{Append, EndRow, EventRow, OutboxRow, RequestRow, StreamRow};
use super::home::Shard;
use super::load::Head;
use super::statements::{Models, StatementError};
use crate::ledger::event::EVENT_VERSION;
use crate::ledger::lots::Lot;
use crate::ledger::{Personal, Place, PurchaseId, Settlement, StreamId, UserId};

pub(super) use deliveries::{
    AnsweredRow, DeliveryKey, InboxRow, RequestKey, RetriedRow, SeenRow, TriedRow,
};

#[derive(Debug, ToSql)]
#[postgres(name = "stream_key")]
pub(super) struct StreamKey<'a> {
    aggregate_type: &'static str,
    aggregate_id: &'a str,
}

impl<'a> StreamKey<'a> {
    pub(super) fn of(stream: &'a StreamId) -> Self {
        Self {
            aggregate_type: stream.aggregate_type(),
            aggregate_id: stream.aggregate_id(),
        }
    }
}

/// A stream that was found.
#[derive(Debug, FromSql)]
#[postgres(name = "found_row")]
pub(super) struct FoundRow {
    pub(super) aggregate_type: String,
    pub(super) aggregate_id: String,
    pub(super) shard: Shard,
    pub(super) version: i64,
    pub(super) state: String,
}

/// The end of a shard, as it is read and as it is written.
#[derive(Debug, ToSql, FromSql)]
#[postgres(name = "head_row")]
pub(super) struct HeadRow {
    pub(super) shard: Shard,
    position: i64,
    hash: Vec<u8>,
    recorded_at: DateTime<Utc>,
}

impl HeadRow {
    pub(super) fn of(end: &EndRow) -> Self {
        Self {
            shard: end.shard,
            position: end.head.position,
            hash: end.head.hash.to_vec(),
            recorded_at: end.head.recorded_at,
        }
    }

    pub(super) fn head(&self) -> Result<Head, StatementError> {
        Ok(Head {
            position: self.position,
            hash: self
                .hash
                .as_slice()
                .try_into()
                .map_err(super::load::corrupt)?,
            recorded_at: self.recorded_at,
        })
    }
}

#[derive(Debug, ToSql)]
#[postgres(name = "request_row")]
pub(super) struct RequestSent<'a> {
    principal: &'a str,
    idempotency_key: &'a str,
    digest: &'a [u8],
    fields: String,
    status: i16,
    body: &'a str,
    recorded_at: DateTime<Utc>,
}

impl<'a> RequestSent<'a> {
    pub(super) fn of(row: &'a RequestRow) -> Self {
        Self {
            principal: &row.key.0,
            idempotency_key: &row.key.1,
            digest: &row.request.digest,
            fields: serde_json::json!(row.request.fields).to_string(),
            status: row.answer.status,
            body: &row.answer.body,
            recorded_at: row.recorded_at,
        }
    }
}

#[derive(Debug, ToSql)]
#[postgres(name = "event_row")]
pub(super) struct EventSent<'a> {
    aggregate_type: &'static str,
    aggregate_id: &'a str,
    sequence: i64,
    event_type: &'static str,
    event_version: &'static str,
    payload: &'a str,
    metadata: &'a str,
    shard: Shard,
    position: i64,
    recorded_at: DateTime<Utc>,
    source: &'static str,
    provider_event_id: Option<&'a str>,
    hash: &'a [u8],
    profile: Option<&'a str>,
    delta: Option<i64>,
    balance: Option<i64>,
    held: Option<i64>,
    debt: Option<i64>,
    purchase_id: Option<&'a str>,
    pub(super) models: i32,
}

impl<'a> EventSent<'a> {
    pub(super) fn of(row: &'a EventRow, models: &Models) -> Self {
        let movement = row.event.movement();
        let account = movement.map(|movement| movement.account);
        Self {
            aggregate_type: row.stream.aggregate_type(),
            aggregate_id: row.stream.aggregate_id(),
            sequence: row.sequence,
            event_type: row.event.type_name(),
            event_version: EVENT_VERSION,
            payload: &row.payload,
            metadata: &row.metadata,
            shard: row.shard,
            position: row.position,
            recorded_at: row.recorded_at,
            source: row.source,
            provider_event_id: row.provider_event_id.as_deref(),
            hash: &row.hash,
            profile: row.personal.as_ref().map(Personal::profile_json),
            delta: movement.map(|movement| movement.delta),
            balance: account.map(|account| account.balance.get()),
            held: account.map(|account| account.held.get()),
            debt: account.map(|account| account.debt.get()),
            purchase_id: movement
                .and_then(|movement| movement.purchase_id)
                .map(PurchaseId::as_str),
            models: models.that_follow(row.event.type_name()),
        }
    }
}

#[derive(Debug, ToSql)]
#[postgres(name = "personal_row")]
pub(super) struct PersonalSent<'a> {
    aggregate_type: &'static str,
    aggregate_id: &'a str,
    sequence: i64,
    salt: Vec<u8>,
    profile: &'a str,
}

impl<'a> PersonalSent<'a> {
    /// None: the event has no personal data beside it.
    pub(super) fn of(row: &'a EventRow) -> Option<Self> {
        let personal = row.personal.as_ref()?;
        Some(Self {
            aggregate_type: row.stream.aggregate_type(),
            aggregate_id: row.stream.aggregate_id(),
            sequence: row.sequence,
            salt: personal.salt().0.to_vec(),
            profile: personal.profile_json(),
        })
    }
}

#[derive(Debug, ToSql)]
#[postgres(name = "erased_row")]
pub(super) struct ErasedRow<'a> {
    aggregate_type: &'static str,
    aggregate_id: &'a str,
    sequence: i64,
}

impl<'a> ErasedRow<'a> {
    pub(super) fn of((stream, sequence): &'a (StreamId, i64)) -> Self {
        Self {
            aggregate_type: stream.aggregate_type(),
            aggregate_id: stream.aggregate_id(),
            sequence: *sequence,
        }
    }
}

#[derive(Debug, ToSql)]
#[postgres(name = "outbox_row")]
pub(super) struct OutboxSent<'a> {
    kind: &'static str,
    aggregate_type: &'static str,
    aggregate_id: &'a str,
    sequence: i64,
    subject: Option<&'a str>,
    created_at: DateTime<Utc>,
}

impl<'a> OutboxSent<'a> {
    pub(super) fn of(row: &'a OutboxRow, append: &Append) -> Self {
        Self {
            kind: row.kind,
            aggregate_type: row.stream.aggregate_type(),
            aggregate_id: row.stream.aggregate_id(),
            sequence: row.sequence,
            subject: row.subject.as_deref(),
            created_at: append.now,
        }
    }
}

#[derive(Debug, ToSql)]
#[postgres(name = "stream_row")]
pub(super) struct StreamSent<'a> {
    aggregate_type: &'static str,
    aggregate_id: &'a str,
    shard: Shard,
    version: i64,
    state: &'a str,
    due_at_s: Option<i64>,
}

impl<'a> StreamSent<'a> {
    pub(super) fn of(row: &'a StreamRow) -> Self {
        Self {
            aggregate_type: row.stream.aggregate_type(),
            aggregate_id: row.stream.aggregate_id(),
            shard: row.shard,
            version: row.version,
            state: &row.state,
            due_at_s: row.due_at_s,
        }
    }
}

#[derive(Debug, ToSql)]
#[postgres(name = "lot_row")]
pub(super) struct LotSent<'a> {
    user_id: &'a str,
    lot: i64,
    shard: Shard,
    kind: &'static str,
    priority: i16,
    expires_at_s: Option<i64>,
    purchase_id: Option<&'a str>,
    amount: i64,
    remaining: i64,
    contested: i64,
    expired: i64,
    counted: i64,
}

impl<'a> LotSent<'a> {
    pub(super) fn of((user, shard, lot): &'a (UserId, Shard, Lot)) -> Self {
        let terms = &lot.terms;
        Self {
            user_id: user.as_str(),
            lot: lot.id,
            shard: *shard,
            kind: terms.kind.as_str(),
            priority: i16::from(terms.priority),
            expires_at_s: terms.expires_at_s,
            purchase_id: terms.purchase_id.as_ref().map(PurchaseId::as_str),
            amount: terms.amount.get(),
            remaining: lot.remaining.get(),
            contested: lot.contested.get(),
            expired: lot.expired.get(),
            counted: lot.counted.get(),
        }
    }
}

#[derive(Debug, ToSql)]
#[postgres(name = "lot_key")]
pub(super) struct LotKey<'a> {
    user_id: &'a str,
    lot: i64,
}

impl<'a> LotKey<'a> {
    pub(super) fn of((user, lot): &'a (UserId, i64)) -> Self {
        Self {
            user_id: user.as_str(),
            lot: *lot,
        }
    }
}

#[derive(Debug, ToSql)]
#[postgres(name = "hold_row")]
pub(super) struct HoldRow<'a> {
    shard: Shard,
    position: i64,
    user_id: &'a str,
    times_out_at_s: i64,
}

impl<'a> HoldRow<'a> {
    pub(super) fn of((place, user_id, times_out_at_s): &'a (Place, String, i64)) -> Self {
        Self {
            shard: place.shard,
            position: place.position,
            user_id,
            times_out_at_s: *times_out_at_s,
        }
    }
}

#[derive(Debug, ToSql)]
#[postgres(name = "settlement_row")]
pub(super) struct SettlementRow {
    shard: Shard,
    position: i64,
    settlement: &'static str,
}

impl SettlementRow {
    pub(super) fn of((place, settlement): &(Place, Settlement)) -> Self {
        Self {
            shard: place.shard,
            position: place.position,
            settlement: settlement.as_str(),
        }
    }
}
