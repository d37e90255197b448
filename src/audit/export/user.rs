//! The history of one user: the user's stream and those of the user's purchases, each event with the hash before it and
//! the proof that it is in a seal, and the seals that the proofs name.
//!
//! Holds a page of events and the leaves of one seal, never more.

use std::collections::BTreeSet;

use credit_ledger_verify::Hash;
use credit_ledger_verify::chain::GENESIS;
use credit_ledger_verify::manifest::Content;
use credit_ledger_verify::merkle;
use credit_ledger_verify::record::{
    EventRecord, Hex, Inclusion, ProvenEvent, ProvenSeal, SealRecord,
};
use deadpool_postgres::Transaction;

use super::{Chosen, ExportError, Writer};
use crate::audit::rows;
use crate::audit::seal::{self, SealError, proof};
use crate::audit::snapshot::{Snapshot, SnapshotError};

/// How many events are read at once.
const EVENTS_PER_PAGE: i64 = 1000;
/// Before the first shard.
const BEGIN: (i16, i64) = (i16::MIN, 0);
const EVENTS: &str = "events";
const SEALS: &str = "seals";
const PAGE_STREAMS_EVENTS: &str = include_str!("../sql/page_streams_events.sql");
const SELECT_PURCHASES_OF: &str = include_str!("../sql/select_purchases_of.sql");

/// The streams of a user's history: their types and ids, pairwise.
pub(super) fn streams(user_id: &str, purchases: &[String]) -> (Vec<&'static str>, Vec<String>) {
    let types = std::iter::once("user").chain(purchases.iter().map(|_| "purchase"));
    let ids = std::iter::once(user_id).chain(purchases.iter().map(String::as_str));
    (types.collect(), ids.map(str::to_owned).collect())
}

/// What belongs to a user's history.
pub(super) async fn choose(snapshot: &Snapshot<'_>, user_id: &str) -> Result<Chosen, ExportError> {
    let mut purchases: Vec<String> = vec![];
    for row in snapshot.list(SELECT_PURCHASES_OF, &[&user_id]).await? {
        purchases.push(row.try_get("purchase_id").map_err(SnapshotError::from)?);
    }
    let (types, ids) = streams(user_id, &purchases);
    if page(snapshot, &types, &ids, BEGIN, 1).await?.is_empty() {
        return Err(ExportError::UnknownUser(user_id.to_owned()));
    }
    Ok(Chosen::Of {
        user_id: user_id.to_owned(),
        purchases,
    })
}

/// Writes a user's log. Gives the number of the last seal.
pub(super) async fn write(
    writer: &mut Writer<'_>,
    user_id: &str,
    purchases: &[String],
) -> Result<i64, ExportError> {
    writer.folder.begin()?;
    let (types, ids) = streams(user_id, purchases);
    let client = writer.snapshot.transaction();
    let last = seal::rows::last(client)
        .await
        .map_err(SnapshotError::from)?;
    let mut proofs = Prover {
        client,
        last: last.as_ref(),
        open: None,
        named: BTreeSet::new(),
    };
    let mut lines = writer.create(EVENTS, Content::Events)?;
    let path = writer.folder.file(EVENTS);
    let mut behind = BEGIN;
    loop {
        let page = page(writer.snapshot, &types, &ids, behind, EVENTS_PER_PAGE).await?;
        let Some((newest, _)) = page.last() else {
            break;
        };
        behind = (newest.shard, newest.position);
        for (event, previous) in page {
            let proof = proofs.prove(&event).await.map_err(SnapshotError::from)?;
            let proven = ProvenEvent {
                event,
                previous,
                proof,
            };
            lines
                .write(&proven)
                .map_err(|error| ExportError::io(&path, error))?;
            writer.count.add(1);
        }
    }
    let named = proofs.named;
    writer.close(EVENTS, Content::Events, lines)?;
    write_seals(writer, last.as_ref(), named).await?;
    Ok(last.map_or(0, |last| last.seal))
}

/// Events with the hashes before them.
async fn page(
    snapshot: &Snapshot<'_>,
    types: &[&str],
    ids: &[String],
    (shard, position): (i16, i64),
    limit: i64,
) -> Result<Vec<(EventRecord, Hash)>, SnapshotError> {
    let found = snapshot
        .list(
            PAGE_STREAMS_EVENTS,
            &[&types, &ids, &shard, &position, &limit],
        )
        .await?;
    let read = |row| Ok((rows::event(row)?, rows::previous(row)?.unwrap_or(GENESIS)));
    found.iter().map(read).collect()
}

/// The seals that were named, and the last one, each with the proof that it is in the last one's head.
async fn write_seals(
    writer: &mut Writer<'_>,
    last: Option<&SealRecord>,
    mut named: BTreeSet<i64>,
) -> Result<(), ExportError> {
    let client = writer.snapshot.transaction();
    named.extend(last.map(|last| last.seal));
    let mut lines = writer.create(SEALS, Content::Seals)?;
    let size = last.map_or(0, |last| last.seal.unsigned_abs());
    for number in named {
        let found = seal::rows::one(client, number).await;
        let Some(seal) = found.map_err(SnapshotError::from)? else {
            continue;
        };
        let index = number.unsigned_abs().saturating_sub(1);
        let path = seal::rows::roots(client, &merkle::inclusion(index, size)).await;
        let path = path.map_err(SnapshotError::from)?;
        let proven = ProvenSeal {
            seal,
            path: path.into_iter().map(Hex).collect(),
        };
        lines
            .write(&proven)
            .map_err(|error| ExportError::io(&writer.folder.file(SEALS), error))?;
        writer.count.add(1);
    }
    writer.close(SEALS, Content::Seals, lines)
}

/// Proves events to be in their seals, and keeps the leaves of the last seal that it was about: events of one seal mostly
/// follow each other.
struct Prover<'a> {
    client: &'a Transaction<'a>,
    last: Option<&'a SealRecord>,
    open: Option<proof::Leaves>,
    /// The seals that proofs name.
    named: BTreeSet<i64>,
}

impl Prover<'_> {
    async fn prove(&mut self, event: &EventRecord) -> Result<Option<Inclusion>, SealError> {
        let sealed = self.last.is_some_and(|last| {
            let mut ends = last.ends.iter();
            ends.any(|end| end.shard == event.shard && end.position >= event.position)
        });
        if !sealed {
            return Ok(None);
        }
        if !self.open.as_ref().is_some_and(|open| open.holds(event)) {
            let number = seal::rows::seal_of(self.client, event.shard, event.position).await?;
            let Some(number) = number else {
                return Ok(None);
            };
            self.open = Some(proof::Leaves::read(self.client, number).await?);
        }
        let Some((seal, index, size, path)) = self.open.as_ref().and_then(|open| open.prove(event))
        else {
            return Ok(None);
        };
        self.named.insert(seal);
        Ok(Some(Inclusion {
            seal,
            index,
            size,
            path: path.into_iter().map(Hex).collect(),
        }))
    }
}
