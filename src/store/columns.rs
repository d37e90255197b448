//! The rows of a batch as columns: one array per parameter, borrowed from the rows, in the order of the statements.

use chrono::{DateTime, Utc};
use tokio_postgres::types::ToSql;

use super::append::Append;
use super::home::Shard;
use super::statements::ApplyStatement;
use crate::ledger::{Personal, PurchaseId};

/// Columns as parameters; none when there are no rows, and then the statement is not sent.
macro_rules! params {
    ($rows:expr; $($column:expr),+ $(,)?) => {
        if $rows.is_empty() { vec![] } else { vec![$(&$column as &(dyn ToSql + Sync)),+] }
    };
}

mod deliveries;
mod personal;

pub(super) use deliveries::{Inbox, Retried, Seen};
pub(super) use personal::{Erased, PersonalRows};

#[derive(Default)]
pub(super) struct Homes<'a> {
    ids: Vec<&'a str>,
    shards: Vec<Shard>,
}

impl<'a> Homes<'a> {
    pub(super) fn of(append: &'a Append) -> Self {
        let (ids, shards) = append
            .homes
            .iter()
            .map(|(id, shard)| (id.as_str(), *shard))
            .unzip();
        Self { ids, shards }
    }

    pub(super) fn params(&self) -> Vec<&(dyn ToSql + Sync)> {
        params![self.ids; self.ids, self.shards]
    }
}

#[derive(Default)]
pub(super) struct Requests<'a> {
    principals: Vec<&'a str>,
    keys: Vec<&'a str>,
    digests: Vec<&'a [u8]>,
    fields: Vec<String>,
    statuses: Vec<i16>,
    bodies: Vec<&'a str>,
    recorded_at: Vec<DateTime<Utc>>,
}

impl<'a> Requests<'a> {
    pub(super) fn of(append: &'a Append) -> Self {
        let mut columns = Self::default();
        for row in &append.requests {
            columns.principals.push(&row.key.0);
            columns.keys.push(&row.key.1);
            columns.digests.push(&row.request.digest);
            columns
                .fields
                .push(serde_json::json!(row.request.fields).to_string());
            columns.statuses.push(row.answer.status);
            columns.bodies.push(&row.answer.body);
            columns.recorded_at.push(row.recorded_at);
        }
        columns
    }

    pub(super) fn params(&self) -> Vec<&(dyn ToSql + Sync)> {
        params![self.keys; self.principals, self.keys, self.digests, self.fields, self.statuses, self.bodies, self.recorded_at]
    }
}

#[derive(Default)]
pub(super) struct Events<'a> {
    aggregate_types: Vec<&'a str>,
    aggregate_ids: Vec<&'a str>,
    sequences: Vec<i64>,
    event_types: Vec<&'a str>,
    event_versions: Vec<&'a str>,
    payloads: Vec<&'a str>,
    metadata: Vec<&'a str>,
    shards: Vec<Shard>,
    positions: Vec<i64>,
    recorded_at: Vec<DateTime<Utc>>,
    sources: Vec<&'a str>,
    provider_event_ids: Vec<Option<&'a str>>,
    hashes: Vec<&'a [u8]>,
}

impl<'a> Events<'a> {
    pub(super) fn of(append: &'a Append) -> Self {
        let mut columns = Self::default();
        for row in &append.events {
            columns.aggregate_types.push(row.stream.aggregate_type());
            columns.aggregate_ids.push(row.stream.aggregate_id());
            columns.sequences.push(row.sequence);
            columns.event_types.push(row.event.type_name());
            columns
                .event_versions
                .push(crate::ledger::event::EVENT_VERSION);
            columns.payloads.push(&row.payload);
            columns.metadata.push(&row.metadata);
            columns.shards.push(row.shard);
            columns.positions.push(row.position);
            columns.recorded_at.push(row.recorded_at);
            columns.sources.push(row.source);
            columns
                .provider_event_ids
                .push(row.provider_event_id.as_deref());
            columns.hashes.push(&row.hash);
        }
        columns
    }

    pub(super) fn params(&self) -> Vec<&(dyn ToSql + Sync)> {
        params![self.sequences; self.aggregate_types, self.aggregate_ids, self.sequences, self.event_types,
            self.event_versions, self.payloads, self.metadata, self.shards, self.positions, self.recorded_at,
            self.sources, self.provider_event_ids, self.hashes]
    }
}

#[derive(Default)]
pub(super) struct Outbox<'a> {
    kinds: Vec<&'a str>,
    aggregate_types: Vec<&'a str>,
    aggregate_ids: Vec<&'a str>,
    sequences: Vec<i64>,
    subjects: Vec<Option<&'a str>>,
    now: DateTime<Utc>,
}

impl<'a> Outbox<'a> {
    pub(super) fn of(append: &'a Append) -> Self {
        let mut columns = Self {
            now: append.now,
            ..Self::default()
        };
        for row in &append.outbox {
            columns.kinds.push(row.kind);
            columns.aggregate_types.push(row.stream.aggregate_type());
            columns.aggregate_ids.push(row.stream.aggregate_id());
            columns.sequences.push(row.sequence);
            columns.subjects.push(row.subject.as_deref());
        }
        columns
    }

    pub(super) fn params(&self) -> Vec<&(dyn ToSql + Sync)> {
        params![self.kinds; self.kinds, self.aggregate_types, self.aggregate_ids, self.sequences, self.subjects,
            self.now]
    }
}

#[derive(Default)]
pub(super) struct Streams<'a> {
    aggregate_types: Vec<&'a str>,
    aggregate_ids: Vec<&'a str>,
    shards: Vec<Shard>,
    versions: Vec<i64>,
    states: Vec<&'a str>,
    due_at_s: Vec<Option<i64>>,
}

impl<'a> Streams<'a> {
    /// Those that began in this batch, or those that went on.
    pub(super) fn of(append: &'a Append, new: bool) -> Self {
        let mut columns = Self::default();
        for row in append.streams.iter().filter(|row| row.new == new) {
            columns.aggregate_types.push(row.stream.aggregate_type());
            columns.aggregate_ids.push(row.stream.aggregate_id());
            columns.shards.push(row.shard);
            columns.versions.push(row.version);
            columns.states.push(&row.state);
            columns.due_at_s.push(row.due_at_s);
        }
        columns
    }

    pub(super) fn params(&self) -> Vec<&(dyn ToSql + Sync)> {
        params![self.shards; self.aggregate_types, self.aggregate_ids, self.shards, self.versions, self.states,
            self.due_at_s]
    }
}

#[derive(Default)]
pub(super) struct Lots<'a> {
    users: Vec<&'a str>,
    lots: Vec<i64>,
    shards: Vec<Shard>,
    kinds: Vec<&'a str>,
    priorities: Vec<i16>,
    expires_at_s: Vec<Option<i64>>,
    purchase_ids: Vec<Option<&'a str>>,
    amounts: Vec<i64>,
    remaining: Vec<i64>,
    contested: Vec<i64>,
    expired: Vec<i64>,
    counted: Vec<i64>,
}

impl<'a> Lots<'a> {
    pub(super) fn of(append: &'a Append) -> Self {
        let mut columns = Self::default();
        for (user, shard, lot) in &append.lots {
            let terms = &lot.terms;
            columns.users.push(user.as_str());
            columns.lots.push(lot.id);
            columns.shards.push(*shard);
            columns.kinds.push(terms.kind.as_str());
            columns.priorities.push(i16::from(terms.priority));
            columns.expires_at_s.push(terms.expires_at_s);
            columns
                .purchase_ids
                .push(terms.purchase_id.as_ref().map(PurchaseId::as_str));
            columns.amounts.push(terms.amount.get());
            columns.remaining.push(lot.remaining.get());
            columns.contested.push(lot.contested.get());
            columns.expired.push(lot.expired.get());
            columns.counted.push(lot.counted.get());
        }
        columns
    }

    pub(super) fn params(&self) -> Vec<&(dyn ToSql + Sync)> {
        params![self.users; self.users, self.lots, self.shards, self.kinds, self.priorities, self.expires_at_s,
            self.purchase_ids, self.amounts, self.remaining, self.contested, self.expired, self.counted]
    }
}

#[derive(Default)]
pub(super) struct LotsGone<'a> {
    users: Vec<&'a str>,
    lots: Vec<i64>,
}

impl<'a> LotsGone<'a> {
    pub(super) fn of(append: &'a Append) -> Self {
        let gone = append.lots_gone.iter();
        let (users, lots) = gone.map(|(user, lot)| (user.as_str(), *lot)).unzip();
        Self { users, lots }
    }

    pub(super) fn params(&self) -> Vec<&(dyn ToSql + Sync)> {
        params![self.users; self.users, self.lots]
    }
}

#[derive(Default)]
pub(super) struct Holds<'a> {
    shards: Vec<Shard>,
    positions: Vec<i64>,
    users: Vec<&'a str>,
    times_out_at_s: Vec<i64>,
}

impl<'a> Holds<'a> {
    pub(super) fn of(append: &'a Append) -> Self {
        let mut columns = Self::default();
        for (place, user, times_out_at_s) in &append.holds {
            columns.shards.push(place.shard);
            columns.positions.push(place.position);
            columns.users.push(user);
            columns.times_out_at_s.push(*times_out_at_s);
        }
        columns
    }

    pub(super) fn params(&self) -> Vec<&(dyn ToSql + Sync)> {
        params![self.users; self.shards, self.positions, self.users, self.times_out_at_s]
    }
}

#[derive(Default)]
pub(super) struct Settlements<'a> {
    shards: Vec<Shard>,
    positions: Vec<i64>,
    settlements: Vec<&'a str>,
}

impl Settlements<'_> {
    pub(super) fn of(append: &Append) -> Self {
        let mut columns = Self::default();
        for (place, settlement) in &append.settlements {
            columns.shards.push(place.shard);
            columns.positions.push(place.position);
            columns.settlements.push(settlement.as_str());
        }
        columns
    }

    pub(super) fn places(&self) -> Vec<&(dyn ToSql + Sync)> {
        params![self.shards; self.shards, self.positions]
    }

    pub(super) fn params(&self) -> Vec<&(dyn ToSql + Sync)> {
        params![self.shards; self.shards, self.positions, self.settlements]
    }
}

#[derive(Default)]
pub(super) struct Ends<'a> {
    shards: Vec<Shard>,
    positions: Vec<i64>,
    hashes: Vec<&'a [u8]>,
    recorded_at: Vec<DateTime<Utc>>,
}

impl<'a> Ends<'a> {
    pub(super) fn of(append: &'a Append) -> Self {
        let mut columns = Self::default();
        for end in &append.ends {
            columns.shards.push(end.shard);
            columns.positions.push(end.head.position);
            columns.hashes.push(&end.head.hash);
            columns.recorded_at.push(end.head.recorded_at);
        }
        columns
    }

    pub(super) fn params(&self) -> Vec<&(dyn ToSql + Sync)> {
        params![self.shards; self.shards, self.positions, self.hashes, self.recorded_at]
    }
}

/// The relation `batch` of one read model: the events that it handles.
#[derive(Default)]
pub(super) struct LiveBatch<'a> {
    shards: Vec<Shard>,
    positions: Vec<i64>,
    aggregate_ids: Vec<&'a str>,
    sequences: Vec<i64>,
    event_types: Vec<&'a str>,
    payloads: Vec<&'a str>,
    recorded_at: Vec<DateTime<Utc>>,
    sources: Vec<&'a str>,
    provider_event_ids: Vec<Option<&'a str>>,
    profiles: Vec<Option<&'a str>>,
    deltas: Vec<Option<i64>>,
    balances: Vec<Option<i64>>,
    held: Vec<Option<i64>>,
    debts: Vec<Option<i64>>,
    purchase_ids: Vec<Option<&'a str>>,
}

impl<'a> LiveBatch<'a> {
    pub(super) fn of(append: &'a Append, model: &ApplyStatement) -> Self {
        let mut columns = Self::default();
        for row in append
            .events
            .iter()
            .filter(|row| model.handles.contains(&row.event.type_name()))
        {
            let movement = row.event.movement();
            columns.shards.push(row.shard);
            columns.positions.push(row.position);
            columns.aggregate_ids.push(row.stream.aggregate_id());
            columns.sequences.push(row.sequence);
            columns.event_types.push(row.event.type_name());
            columns.payloads.push(&row.payload);
            columns.recorded_at.push(row.recorded_at);
            columns.sources.push(row.source);
            columns
                .provider_event_ids
                .push(row.provider_event_id.as_deref());
            columns
                .profiles
                .push(row.personal.as_ref().map(Personal::profile_json));
            let account = movement.map(|movement| movement.account);
            columns.deltas.push(movement.map(|movement| movement.delta));
            columns
                .balances
                .push(account.map(|account| account.balance.get()));
            columns.held.push(account.map(|account| account.held.get()));
            columns
                .debts
                .push(account.map(|account| account.debt.get()));
            let purchase_id = movement.and_then(|movement| movement.purchase_id);
            columns
                .purchase_ids
                .push(purchase_id.map(PurchaseId::as_str));
        }
        columns
    }

    pub(super) fn params(&self) -> Vec<&(dyn ToSql + Sync)> {
        params![self.shards; self.shards, self.positions, self.aggregate_ids, self.sequences, self.event_types,
            self.payloads, self.recorded_at, self.sources, self.provider_event_ids, self.profiles, self.deltas,
            self.balances, self.held, self.debts, self.purchase_ids]
    }
}
