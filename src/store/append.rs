//! Round trip (b): everything that a batch writes, and its commit, sent in one go.

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use chrono::{DateTime, Utc};
use futures_util::future::{BoxFuture, MaybeDone, join_all, maybe_done};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Error, Statement};

use super::chain::Hash;
use super::home::Shard;
use super::load::Head;
use super::statements::{ApplyStatement, StatementError, Statements};
use super::unit::Delivered;
use crate::ledger::{Personal, PurchaseId, StreamId};

/// All rows of a batch.
#[derive(Debug, Default)]
pub(super) struct Append {
    pub(super) inbox: Vec<InboxRow>,
    pub(super) homes: Vec<(PurchaseId, Shard)>,
    pub(super) events: Vec<EventRow>,
    pub(super) streams: Vec<StreamRow>,
    pub(super) ends: Vec<EndRow>,
    /// How many more times deliveries came that are stored already, by source and key.
    seen: BTreeMap<(&'static str, String), i32>,
}

/// A new delivery and what became of it.
#[derive(Debug)]
pub(super) struct InboxRow {
    pub(super) delivered: Arc<Delivered>,
    pub(super) outcome: &'static str,
    pub(super) reason: Option<String>,
    pub(super) led_to: Vec<(Shard, i64)>,
}

/// An event with its places and its hash.
#[derive(Debug)]
pub(super) struct EventRow {
    pub(super) stream: StreamId,
    pub(super) sequence: i64,
    pub(super) event_type: &'static str,
    pub(super) payload: String,
    pub(super) metadata: String,
    pub(super) shard: Shard,
    pub(super) position: i64,
    pub(super) recorded_at: DateTime<Utc>,
    pub(super) source: &'static str,
    pub(super) provider_event_id: Option<String>,
    pub(super) hash: Hash,
    pub(super) personal: Option<Personal>,
}

/// A stream's state after the batch.
#[derive(Debug)]
pub(super) struct StreamRow {
    pub(super) stream: StreamId,
    pub(super) shard: Shard,
    pub(super) version: i64,
    pub(super) state: String,
}

/// A shard's end after the batch.
#[derive(Debug)]
pub(super) struct EndRow {
    pub(super) shard: Shard,
    pub(super) head: Head,
}

impl Append {
    pub(super) fn count_delivery(&mut self, delivered: &Delivered) {
        *self
            .seen
            .entry((delivered.source.as_str(), delivered.key.clone()))
            .or_default() += 1;
    }

    /// Streams in one order for every instance, so that their index pages are locked alike. The statements sort
    /// the keys that can collide.
    pub(super) fn sort(&mut self) {
        self.streams
            .sort_unstable_by(|a, b| a.stream.cmp(&b.stream));
        self.ends.sort_unstable_by_key(|end| end.shard);
    }
}

/// A statement on its way.
type Sent<'a> = MaybeDone<BoxFuture<'a, Result<u64, Error>>>;

/// Writes the batch and commits it. `Ok` means: durable.
pub(super) async fn append(
    client: &Client,
    statements: &Statements,
    append: &Append,
) -> Result<(), StatementError> {
    let inbox = Inbox::of(append);
    let seen = Seen::of(append);
    let homes = Homes::of(append);
    let events = Events::of(append);
    let personal = PersonalRows::of(append);
    let streams = Streams::of(append);
    let ends = Ends::of(append);
    let batches: Vec<LiveBatch<'_>> = statements
        .read_models
        .iter()
        .map(|model| LiveBatch::of(append, model))
        .collect();

    let mut rows: Vec<(&Statement, Vec<&(dyn ToSql + Sync)>)> = vec![
        (&statements.insert_inbox, inbox.params()),
        (&statements.count_deliveries, seen.params()),
        (&statements.insert_homes, homes.params()),
        (&statements.insert_events, events.params()),
        (&statements.insert_personal, personal.params()),
        (&statements.upsert_streams, streams.params()),
    ];
    for (model, batch) in statements.read_models.iter().zip(&batches) {
        rows.push((&model.statement, batch.params()));
    }
    rows.push((&statements.update_heads, ends.params()));
    let sent = rows
        .iter()
        .filter(|(_, params)| !params.is_empty())
        .map(|(statement, params)| {
            let run: BoxFuture<'_, _> = Box::pin(client.execute(*statement, params));
            maybe_done(run)
        })
        .collect();
    commit(client, sent).await
}

/// Sends statements in their order, then the commit, without waiting in between.
///
/// A statement that could not even be sent is known before the commit is: then nothing is committed. One that the
/// server refuses turns the commit behind it into a rollback; the first error is the one that says why.
async fn commit(client: &Client, mut sent: Vec<Sent<'_>>) -> Result<(), StatementError> {
    let sendable = poll_fn(|context| {
        let mut sendable = true;
        for statement in &mut sent {
            if Pin::new(&mut *statement).poll(context).is_ready() {
                sendable &= matches!(statement, MaybeDone::Done(Ok(_)));
            }
        }
        Poll::Ready(sendable)
    })
    .await;
    let end = client.batch_execute(if sendable { "commit" } else { "rollback" });
    let ((), ended) = futures_util::future::join(
        async {
            join_all(sent.iter_mut()).await;
        },
        end,
    )
    .await;
    for statement in &mut sent {
        if let Some(result) = Pin::new(statement).take_output() {
            result?;
        }
    }
    Ok(ended?)
}

/// Columns as parameters; none when there are no rows, and then the statement is not sent.
macro_rules! params {
    ($rows:expr; $($column:expr),+ $(,)?) => {
        if $rows.is_empty() { vec![] } else { vec![$(&$column as &(dyn ToSql + Sync)),+] }
    };
}

#[derive(Default)]
struct Inbox<'a> {
    sources: Vec<&'a str>,
    keys: Vec<&'a str>,
    provider_event_ids: Vec<&'a str>,
    bodies: Vec<&'a [u8]>,
    digests: Vec<&'a [u8]>,
    headers: Vec<&'a str>,
    secrets: Vec<&'a str>,
    received_at: Vec<DateTime<Utc>>,
    outcomes: Vec<&'a str>,
    reasons: Vec<Option<&'a str>>,
    shards: Vec<String>,
    positions: Vec<String>,
}

impl<'a> Inbox<'a> {
    fn of(append: &'a Append) -> Self {
        let mut columns = Self::default();
        for row in &append.inbox {
            let delivered = &row.delivered;
            columns.sources.push(delivered.source.as_str());
            columns.keys.push(&delivered.key);
            columns
                .provider_event_ids
                .push(&delivered.provider_event_id);
            columns.bodies.push(&delivered.body);
            columns.digests.push(&delivered.body_sha256);
            columns.headers.push(&delivered.headers_json);
            columns.secrets.push(&delivered.secret);
            columns.received_at.push(delivered.received_at);
            columns.outcomes.push(row.outcome);
            columns.reasons.push(row.reason.as_deref());
            columns.shards.push(array_literal(
                row.led_to.iter().map(|(shard, _)| i64::from(*shard)),
            ));
            columns.positions.push(array_literal(
                row.led_to.iter().map(|(_, position)| *position),
            ));
        }
        columns
    }

    fn params(&self) -> Vec<&(dyn ToSql + Sync)> {
        params![self.keys; self.sources, self.keys, self.provider_event_ids, self.bodies, self.digests,
            self.headers, self.secrets, self.received_at, self.outcomes, self.reasons, self.shards, self.positions]
    }
}

fn array_literal(numbers: impl Iterator<Item = i64>) -> String {
    let numbers: Vec<String> = numbers.map(|n| n.to_string()).collect();
    format!("{{{}}}", numbers.join(","))
}

#[derive(Default)]
struct Seen<'a> {
    sources: Vec<&'a str>,
    keys: Vec<&'a str>,
    more: Vec<i32>,
}

impl<'a> Seen<'a> {
    fn of(append: &'a Append) -> Self {
        let mut columns = Self::default();
        for ((source, key), more) in &append.seen {
            columns.sources.push(source);
            columns.keys.push(key);
            columns.more.push(*more);
        }
        columns
    }

    fn params(&self) -> Vec<&(dyn ToSql + Sync)> {
        params![self.keys; self.sources, self.keys, self.more]
    }
}

#[derive(Default)]
struct Homes<'a> {
    ids: Vec<&'a str>,
    shards: Vec<Shard>,
}

impl<'a> Homes<'a> {
    fn of(append: &'a Append) -> Self {
        let (ids, shards) = append
            .homes
            .iter()
            .map(|(id, shard)| (id.as_str(), *shard))
            .unzip();
        Self { ids, shards }
    }

    fn params(&self) -> Vec<&(dyn ToSql + Sync)> {
        params![self.ids; self.ids, self.shards]
    }
}

#[derive(Default)]
struct Events<'a> {
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
    fn of(append: &'a Append) -> Self {
        let mut columns = Self::default();
        for row in &append.events {
            columns.aggregate_types.push(row.stream.aggregate_type());
            columns.aggregate_ids.push(row.stream.aggregate_id());
            columns.sequences.push(row.sequence);
            columns.event_types.push(row.event_type);
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

    fn params(&self) -> Vec<&(dyn ToSql + Sync)> {
        params![self.sequences; self.aggregate_types, self.aggregate_ids, self.sequences, self.event_types,
            self.event_versions, self.payloads, self.metadata, self.shards, self.positions, self.recorded_at,
            self.sources, self.provider_event_ids, self.hashes]
    }
}

#[derive(Default)]
struct PersonalRows<'a> {
    aggregate_types: Vec<&'a str>,
    aggregate_ids: Vec<&'a str>,
    sequences: Vec<i64>,
    salts: Vec<Vec<u8>>,
    profiles: Vec<&'a str>,
}

impl<'a> PersonalRows<'a> {
    fn of(append: &'a Append) -> Self {
        let mut columns = Self::default();
        for row in &append.events {
            let Some(personal) = &row.personal else {
                continue;
            };
            columns.aggregate_types.push(row.stream.aggregate_type());
            columns.aggregate_ids.push(row.stream.aggregate_id());
            columns.sequences.push(row.sequence);
            columns.salts.push(personal.salt().0.to_vec());
            columns.profiles.push(personal.profile_json());
        }
        columns
    }

    fn params(&self) -> Vec<&(dyn ToSql + Sync)> {
        params![self.sequences; self.aggregate_types, self.aggregate_ids, self.sequences, self.salts, self.profiles]
    }
}

#[derive(Default)]
struct Streams<'a> {
    aggregate_types: Vec<&'a str>,
    aggregate_ids: Vec<&'a str>,
    shards: Vec<Shard>,
    versions: Vec<i64>,
    states: Vec<&'a str>,
}

impl<'a> Streams<'a> {
    fn of(append: &'a Append) -> Self {
        let mut columns = Self::default();
        for row in &append.streams {
            columns.aggregate_types.push(row.stream.aggregate_type());
            columns.aggregate_ids.push(row.stream.aggregate_id());
            columns.shards.push(row.shard);
            columns.versions.push(row.version);
            columns.states.push(&row.state);
        }
        columns
    }

    fn params(&self) -> Vec<&(dyn ToSql + Sync)> {
        params![self.shards; self.aggregate_types, self.aggregate_ids, self.shards, self.versions, self.states]
    }
}

#[derive(Default)]
struct Ends<'a> {
    shards: Vec<Shard>,
    positions: Vec<i64>,
    hashes: Vec<&'a [u8]>,
    recorded_at: Vec<DateTime<Utc>>,
}

impl<'a> Ends<'a> {
    fn of(append: &'a Append) -> Self {
        let mut columns = Self::default();
        for end in &append.ends {
            columns.shards.push(end.shard);
            columns.positions.push(end.head.position);
            columns.hashes.push(&end.head.hash);
            columns.recorded_at.push(end.head.recorded_at);
        }
        columns
    }

    fn params(&self) -> Vec<&(dyn ToSql + Sync)> {
        params![self.shards; self.shards, self.positions, self.hashes, self.recorded_at]
    }
}

/// The relation `batch` of one read model: the events that it handles.
#[derive(Default)]
struct LiveBatch<'a> {
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
}

impl<'a> LiveBatch<'a> {
    fn of(append: &'a Append, model: &ApplyStatement) -> Self {
        let mut columns = Self::default();
        for row in append
            .events
            .iter()
            .filter(|row| model.handles.contains(&row.event_type))
        {
            columns.shards.push(row.shard);
            columns.positions.push(row.position);
            columns.aggregate_ids.push(row.stream.aggregate_id());
            columns.sequences.push(row.sequence);
            columns.event_types.push(row.event_type);
            columns.payloads.push(&row.payload);
            columns.recorded_at.push(row.recorded_at);
            columns.sources.push(row.source);
            columns
                .provider_event_ids
                .push(row.provider_event_id.as_deref());
            columns
                .profiles
                .push(row.personal.as_ref().map(Personal::profile_json));
        }
        columns
    }

    fn params(&self) -> Vec<&(dyn ToSql + Sync)> {
        params![self.shards; self.shards, self.positions, self.aggregate_ids, self.sequences, self.event_types,
            self.payloads, self.recorded_at, self.sources, self.provider_event_ids, self.profiles]
    }
}
