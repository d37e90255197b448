//! Round trip (b): everything that a batch writes, and its commit, sent in one go.

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use chrono::{DateTime, Utc};
use credit_ledger_verify::Hash;
use futures_util::future::{BoxFuture, MaybeDone, join_all, maybe_done};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Error, Statement};

use super::columns::{
    Ends, Erased, Events, Holds, Homes, Inbox, LiveBatch, Lots, LotsGone, Outbox, PersonalRows,
    Requests, Retried, Seen, Settlements, Streams,
};
use super::fate::Fate;
use super::home::Shard;
use super::load::Head;
use super::statements::{StatementError, Statements};
use super::unit::{Answer, Delivered, Request, Retry};
use crate::ledger::lots::Lot;
use crate::ledger::{Event, Personal, Place, PurchaseId, Settlement, StreamId, UserId};

/// All rows of a batch.
#[derive(Debug, Default)]
pub(super) struct Append {
    pub(super) inbox: Vec<InboxRow>,
    pub(super) retried: Vec<RetriedRow>,
    pub(super) homes: Vec<(PurchaseId, Shard)>,
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

    /// Streams in one order for every instance, so that their index pages are locked alike. The statements sort
    /// the keys that can collide.
    pub(super) fn sort(&mut self) {
        self.streams
            .sort_unstable_by(|a, b| a.stream.cmp(&b.stream));
        self.lots
            .sort_unstable_by(|a, b| (&a.0, a.2.id).cmp(&(&b.0, b.2.id)));
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
    let retried = Retried::of(append);
    let homes = Homes::of(append);
    let requests = Requests::of(append);
    let events = Events::of(append);
    let personal = PersonalRows::of(append);
    let erased = Erased::of(append);
    let outbox = Outbox::of(append);
    let (new_streams, streams) = (Streams::of(append, true), Streams::of(append, false));
    let (lots, lots_gone) = (Lots::of(append), LotsGone::of(append));
    let (holds, settlements) = (Holds::of(append), Settlements::of(append));
    let ends = Ends::of(append);
    let batches: Vec<LiveBatch<'_>> = statements
        .read_models
        .iter()
        .map(|model| LiveBatch::of(append, model))
        .collect();

    let mut rows: Vec<(&Statement, Vec<&(dyn ToSql + Sync)>)> = vec![
        (&statements.insert_inbox, inbox.params()),
        (&statements.count_deliveries, seen.params()),
        (&statements.update_retried, retried.params()),
        (&statements.insert_homes, homes.params()),
        (&statements.insert_requests, requests.params()),
        (&statements.insert_events, events.params()),
        (&statements.insert_personal, personal.params()),
        (&statements.delete_personal, erased.params()),
        (&statements.insert_outbox, outbox.params()),
        (&statements.insert_streams, new_streams.params()),
        (&statements.update_streams, streams.params()),
        (&statements.upsert_lots, lots.params()),
        (&statements.delete_lots, lots_gone.params()),
        (&statements.insert_holds, holds.params()),
        (&statements.delete_holds, settlements.places()),
        (&statements.insert_settlements, settlements.params()),
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
