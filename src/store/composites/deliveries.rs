//! Deliveries and requests: what they are known by, what became of them.

use chrono::{DateTime, Utc};
use postgres_types::{FromSql, ToSql};

use crate::ledger::SubscriptionKey;
use crate::store::append::{self, Append};
use crate::store::fate::Fate;
use crate::store::home::Shard;

/// What the inbox knows a delivery by.
#[derive(Debug, ToSql, FromSql)]
#[postgres(name = "delivery_key")]
pub(in crate::store) struct DeliveryKey {
    pub(in crate::store) source: String,
    pub(in crate::store) key: String,
}

impl DeliveryKey {
    pub(in crate::store) fn of((source, key): &(String, String)) -> Self {
        Self {
            source: source.clone(),
            key: key.clone(),
        }
    }
}

/// A stored delivery that is tried again, as it is.
#[derive(Debug, FromSql)]
#[postgres(name = "tried_row")]
pub(in crate::store) struct TriedRow {
    pub(in crate::store) source: String,
    pub(in crate::store) key: String,
    pub(in crate::store) outcome: String,
    pub(in crate::store) attempts: i32,
    pub(in crate::store) next_attempt_at: Option<DateTime<Utc>>,
}

#[derive(Debug, ToSql)]
#[postgres(name = "request_key")]
pub(in crate::store) struct RequestKey<'a> {
    principal: &'a str,
    idempotency_key: &'a str,
}

impl<'a> RequestKey<'a> {
    pub(in crate::store) fn of((principal, idempotency_key): &'a (String, String)) -> Self {
        Self {
            principal,
            idempotency_key,
        }
    }
}

/// A request that was answered.
#[derive(Debug, FromSql)]
#[postgres(name = "answered_row")]
pub(in crate::store) struct AnsweredRow {
    pub(in crate::store) principal: String,
    pub(in crate::store) idempotency_key: String,
    pub(in crate::store) digest: Vec<u8>,
    pub(in crate::store) fields: String,
    pub(in crate::store) status: i16,
    pub(in crate::store) body: String,
}

#[derive(Debug, ToSql)]
#[postgres(name = "inbox_row")]
pub(in crate::store) struct InboxRow<'a> {
    source: &'static str,
    key: &'a str,
    provider_event_id: &'a str,
    body: &'a [u8],
    body_sha256: &'a [u8],
    headers: &'a str,
    secret: &'a str,
    received_at: DateTime<Utc>,
    outcome: &'static str,
    reason: Option<&'a str>,
    shards: Vec<Shard>,
    positions: Vec<i64>,
    waits_for: Option<&'a str>,
    next_attempt_at: Option<DateTime<Utc>>,
    erased_at: Option<DateTime<Utc>>,
}

impl<'a> InboxRow<'a> {
    pub(in crate::store) fn of(row: &'a append::InboxRow, append: &Append) -> Self {
        let (delivered, fate) = (&row.delivered, &row.fate);
        let (shards, positions) = led_to(fate);
        Self {
            source: delivered.source.as_str(),
            key: &delivered.key,
            provider_event_id: &delivered.provider_event_id,
            body: if fate.blanks() { &[] } else { &delivered.body },
            body_sha256: &delivered.body_sha256,
            headers: &delivered.headers_json,
            secret: &delivered.secret,
            received_at: delivered.received_at,
            outcome: fate.outcome,
            reason: fate.reason.as_deref(),
            shards,
            positions,
            waits_for: fate.waits_for.as_ref().map(SubscriptionKey::as_str),
            next_attempt_at: fate.next_attempt_at,
            erased_at: fate.erases.then_some(append.now),
        }
    }
}

#[derive(Debug, ToSql)]
#[postgres(name = "retried_row")]
pub(in crate::store) struct RetriedRow<'a> {
    source: &'static str,
    key: &'a str,
    outcome: &'static str,
    reason: Option<&'a str>,
    shards: Vec<Shard>,
    positions: Vec<i64>,
    waits_for: Option<&'a str>,
    next_attempt_at: Option<DateTime<Utc>>,
    erased_at: Option<DateTime<Utc>>,
}

impl<'a> RetriedRow<'a> {
    pub(in crate::store) fn of(row: &'a append::RetriedRow, append: &Append) -> Self {
        let (shards, positions) = led_to(&row.fate);
        Self {
            source: row.retry.source.as_str(),
            key: &row.retry.key,
            outcome: row.fate.outcome,
            reason: row.fate.reason.as_deref(),
            shards,
            positions,
            waits_for: row.fate.waits_for.as_ref().map(SubscriptionKey::as_str),
            next_attempt_at: row.fate.next_attempt_at,
            erased_at: row.fate.erases.then_some(append.now),
        }
    }
}

fn led_to(fate: &Fate) -> (Vec<Shard>, Vec<i64>) {
    fate.led_to.iter().copied().unzip()
}

#[derive(Debug, ToSql)]
#[postgres(name = "seen_row")]
pub(in crate::store) struct SeenRow<'a> {
    source: &'static str,
    key: &'a str,
    more: i32,
}

impl<'a> SeenRow<'a> {
    pub(in crate::store) fn of(((source, key), more): (&'a (&'static str, String), &i32)) -> Self {
        Self {
            source,
            key,
            more: *more,
        }
    }
}
