//! Round trip (b): everything that a batch writes, and its commit, sent in one go.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use chrono::{DateTime, Utc};
use credit_ledger_verify::Hash;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Error};

use super::composites::{
    self, ErasedRow, EventSent, HeadRow, HoldRow, LotKey, LotSent, OutboxSent, PersonalSent,
    RequestSent, SeenRow, SettlementRow, StreamSent,
};
use super::fate::Fate;
use super::home::Shard;
use super::load::Head;
use super::statements::{APPEND_PARAMETERS, Models, StatementError, Statements};
use super::unit::{Answer, Delivered, Request, Retry};
use crate::ledger::lots::Lot;
use crate::ledger::{Event, Personal, Place, Settlement, StreamId, UserId};

/// All rows of a batch.
#[derive(Debug, Default)]
pub(super) struct Append {
    pub(super) inbox: Vec<InboxRow>,
    pub(super) retried: Vec<RetriedRow>,
    pub(super) requests: Vec<RequestRow>,
    pub(super) events: Vec<EventRow>,
    pub(super) streams: Vec<StreamRow>,
    /// Lots behind the front, with their user and shard.
    pub(super) lots: Vec<(UserId, Shard, Lot)>,
    pub(super) lots_gone: Vec<(UserId, i64)>,
    /// Holds that were placed: where, whose, when they time out.
    pub(super) holds: Vec<(Place, String, i64)>,
    pub(super) settlements: Vec<(Place, Settlement)>,
    pub(super) ends: Vec<EndRow>,
    pub(super) outbox: Vec<OutboxRow>,
    /// Streams whose personal data goes, each with the sequence of the event that says so.
    pub(super) erased: Vec<(StreamId, i64)>,
    /// When the batch was decided.
    pub(super) now: DateTime<Utc>,
    /// How many more times deliveries came that are stored already, by source and key.
    pub(super) seen: BTreeMap<(&'static str, String), i32>,
}

/// A new delivery and what became of it.
#[derive(Debug)]
pub(super) struct InboxRow {
    pub(super) delivered: Arc<Delivered>,
    pub(super) fate: Fate,
}

/// A stored delivery that was tried again, and what became of it.
#[derive(Debug)]
pub(super) struct RetriedRow {
    pub(super) retry: Arc<Retry>,
    pub(super) fate: Fate,
}

/// What is to be looked at once the batch is committed.
#[derive(Debug)]
pub(super) struct OutboxRow {
    pub(super) kind: &'static str,
    /// The event that calls for it.
    pub(super) stream: StreamId,
    pub(super) sequence: i64,
    pub(super) subject: Option<String>,
}

/// A request and the answer it got.
#[derive(Debug)]
pub(super) struct RequestRow {
    /// Principal and idempotency key.
    pub(super) key: (String, String),
    pub(super) request: Arc<Request>,
    pub(super) answer: Answer,
    pub(super) recorded_at: DateTime<Utc>,
}

/// An event with its places and its hash.
#[derive(Debug)]
pub(super) struct EventRow {
    pub(super) stream: StreamId,
    pub(super) sequence: i64,
    /// What it is: its type, and how it moved credits.
    pub(super) event: Event,
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
    /// Whether the stream began in this batch.
    pub(super) new: bool,
    /// When it changes by itself, seconds since 1970.
    pub(super) due_at_s: Option<i64>,
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

    /// Rows in one order for every instance, so that keys that can collide and index pages are locked alike.
    pub(super) fn sort(&mut self) {
        self.inbox
            .sort_unstable_by(|a, b| a.delivered.inbox_key().cmp(&b.delivered.inbox_key()));
        self.requests.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        self.streams
            .sort_unstable_by(|a, b| a.stream.cmp(&b.stream));
        self.lots
            .sort_unstable_by(|a, b| (&a.0, a.2.id).cmp(&(&b.0, b.2.id)));
        self.ends.sort_unstable_by_key(|end| end.shard);
    }
}

/// Writes the batch and commits it. `Ok` means: durable.
pub(super) async fn append(
    client: &Client,
    statements: &Statements,
    append: &Append,
) -> Result<(), StatementError> {
    let rows = Rows::of(append, &statements.models);
    let params = rows.params();
    commit(
        client,
        Box::pin(client.execute(&statements.append, &params)),
    )
    .await
}

/// The rows of a batch, each kind for one step of the statement.
struct Rows<'a> {
    inbox: Vec<composites::InboxRow<'a>>,
    seen: Vec<SeenRow<'a>>,
    retried: Vec<composites::RetriedRow<'a>>,
    requests: Vec<RequestSent<'a>>,
    events: Vec<EventSent<'a>>,
    personal: Vec<PersonalSent<'a>>,
    erased: Vec<ErasedRow<'a>>,
    outbox: Vec<OutboxSent<'a>>,
    new_streams: Vec<StreamSent<'a>>,
    streams: Vec<StreamSent<'a>>,
    lots: Vec<LotSent<'a>>,
    lots_gone: Vec<LotKey<'a>>,
    holds: Vec<HoldRow<'a>>,
    settlements: Vec<SettlementRow>,
    ends: Vec<HeadRow>,
    /// The read models that any of the events concerns.
    models: i32,
}

impl<'a> Rows<'a> {
    fn of(append: &'a Append, models: &Models) -> Self {
        let events = || append.events.iter();
        let streams = |new| {
            let rows = append.streams.iter().filter(move |row| row.new == new);
            rows.map(StreamSent::of).collect()
        };
        let inbox = append.inbox.iter();
        let retried = append.retried.iter();
        let outbox = append.outbox.iter();
        let sent: Vec<EventSent<'_>> = events().map(|row| EventSent::of(row, models)).collect();
        Self {
            inbox: inbox
                .map(|row| composites::InboxRow::of(row, append))
                .collect(),
            seen: append.seen.iter().map(SeenRow::of).collect(),
            retried: retried
                .map(|row| composites::RetriedRow::of(row, append))
                .collect(),
            requests: append.requests.iter().map(RequestSent::of).collect(),
            models: sent.iter().fold(0, |all, event| all | event.models),
            events: sent,
            personal: events().filter_map(PersonalSent::of).collect(),
            erased: append.erased.iter().map(ErasedRow::of).collect(),
            outbox: outbox.map(|row| OutboxSent::of(row, append)).collect(),
            new_streams: streams(true),
            streams: streams(false),
            lots: append.lots.iter().map(LotSent::of).collect(),
            lots_gone: append.lots_gone.iter().map(LotKey::of).collect(),
            holds: append.holds.iter().map(HoldRow::of).collect(),
            settlements: append.settlements.iter().map(SettlementRow::of).collect(),
            ends: append.ends.iter().map(HeadRow::of).collect(),
        }
    }

    /// In the order of the function's parameters.
    fn params(&self) -> [&(dyn ToSql + Sync); APPEND_PARAMETERS.len()] {
        [
            &self.inbox,
            &self.seen,
            &self.retried,
            &self.requests,
            &self.events,
            &self.personal,
            &self.erased,
            &self.outbox,
            &self.new_streams,
            &self.streams,
            &self.lots,
            &self.lots_gone,
            &self.holds,
            &self.settlements,
            &self.ends,
            &self.models,
        ]
    }
}

/// Sends the statement, then the commit, without waiting in between.
///
/// A statement that could not even be sent is known before the commit is: then nothing is committed. One that the
/// server refuses turns the commit behind it into a rollback.
async fn commit(
    client: &Client,
    mut statement: Pin<Box<impl Future<Output = Result<u64, Error>>>>,
) -> Result<(), StatementError> {
    let early = poll_fn(|context| match statement.as_mut().poll(context) {
        Poll::Ready(result) => Poll::Ready(Some(result)),
        Poll::Pending => Poll::Ready(None),
    })
    .await;
    let sent = !matches!(early, Some(Err(_)));
    let end = client.batch_execute(if sent { "commit" } else { "rollback" });
    let result = async {
        match early {
            Some(result) => result,
            None => statement.await,
        }
    };
    let (result, ended) = futures_util::future::join(result, end).await;
    result?;
    Ok(ended?)
}
