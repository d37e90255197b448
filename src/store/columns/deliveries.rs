//! Deliveries as columns, and what became of them.

use chrono::{DateTime, Utc};
use tokio_postgres::types::ToSql;

use crate::store::append::Append;
use crate::store::fate::Fate;

#[derive(Default)]
pub(in crate::store) struct Inbox<'a> {
    sources: Vec<&'a str>,
    keys: Vec<&'a str>,
    provider_event_ids: Vec<&'a str>,
    bodies: Vec<&'a [u8]>,
    digests: Vec<&'a [u8]>,
    headers: Vec<&'a str>,
    secrets: Vec<&'a str>,
    received_at: Vec<DateTime<Utc>>,
    fates: Fates<'a>,
    erased_at: Vec<Option<DateTime<Utc>>>,
}

/// What became of deliveries.
#[derive(Default)]
struct Fates<'a> {
    outcomes: Vec<&'a str>,
    reasons: Vec<Option<&'a str>>,
    waits_for: Vec<Option<&'a str>>,
    next_attempts_at: Vec<Option<DateTime<Utc>>>,
    shards: Vec<String>,
    positions: Vec<String>,
}

impl<'a> Fates<'a> {
    fn push(&mut self, fate: &'a Fate) {
        self.outcomes.push(fate.outcome);
        self.reasons.push(fate.reason.as_deref());
        self.waits_for.push(fate.waits_for.as_deref());
        self.next_attempts_at.push(fate.next_attempt_at);
        let (shards, positions): (Vec<i64>, Vec<i64>) = fate
            .led_to
            .iter()
            .map(|(shard, position)| (i64::from(*shard), *position))
            .unzip();
        self.shards.push(array_literal(&shards));
        self.positions.push(array_literal(&positions));
    }
}

impl<'a> Inbox<'a> {
    pub(in crate::store) fn of(append: &'a Append) -> Self {
        let mut columns = Self::default();
        for row in &append.inbox {
            let delivered = &row.delivered;
            columns.sources.push(delivered.source.as_str());
            columns.keys.push(&delivered.key);
            columns
                .provider_event_ids
                .push(&delivered.provider_event_id);
            let blank = row.fate.blanks();
            let body: &[u8] = if blank { &[] } else { &delivered.body };
            columns.bodies.push(body);
            columns.digests.push(&delivered.body_sha256);
            columns.headers.push(&delivered.headers_json);
            columns.secrets.push(&delivered.secret);
            columns.received_at.push(delivered.received_at);
            columns.fates.push(&row.fate);
            columns
                .erased_at
                .push(row.fate.erases.then_some(append.now));
        }
        columns
    }

    pub(in crate::store) fn params(&self) -> Vec<&(dyn ToSql + Sync)> {
        let fates = &self.fates;
        params![self.keys; self.sources, self.keys, self.provider_event_ids, self.bodies, self.digests,
            self.headers, self.secrets, self.received_at, fates.outcomes, fates.reasons, fates.shards,
            fates.positions, fates.waits_for, fates.next_attempts_at, self.erased_at]
    }
}

#[derive(Default)]
pub(in crate::store) struct Retried<'a> {
    sources: Vec<&'a str>,
    keys: Vec<&'a str>,
    fates: Fates<'a>,
    erased_at: Vec<Option<DateTime<Utc>>>,
}

impl<'a> Retried<'a> {
    pub(in crate::store) fn of(append: &'a Append) -> Self {
        let mut columns = Self::default();
        for row in &append.retried {
            columns.sources.push(row.retry.source.as_str());
            columns.keys.push(&row.retry.key);
            columns.fates.push(&row.fate);
            columns
                .erased_at
                .push(row.fate.erases.then_some(append.now));
        }
        columns
    }

    pub(in crate::store) fn params(&self) -> Vec<&(dyn ToSql + Sync)> {
        let fates = &self.fates;
        params![self.keys; self.sources, self.keys, fates.outcomes, fates.reasons, fates.waits_for,
            fates.next_attempts_at, fates.shards, fates.positions, self.erased_at]
    }
}

fn array_literal(numbers: &[i64]) -> String {
    let numbers: Vec<String> = numbers.iter().map(ToString::to_string).collect();
    format!("{{{}}}", numbers.join(","))
}

#[derive(Default)]
pub(in crate::store) struct Seen<'a> {
    sources: Vec<&'a str>,
    keys: Vec<&'a str>,
    more: Vec<i32>,
}

impl<'a> Seen<'a> {
    pub(in crate::store) fn of(append: &'a Append) -> Self {
        let mut columns = Self::default();
        for ((source, key), more) in &append.seen {
            columns.sources.push(source);
            columns.keys.push(key);
            columns.more.push(*more);
        }
        columns
    }

    pub(in crate::store) fn params(&self) -> Vec<&(dyn ToSql + Sync)> {
        params![self.keys; self.sources, self.keys, self.more]
    }
}
