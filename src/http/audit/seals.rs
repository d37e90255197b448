//! Seals as auditors read them, and proofs that need no trust in whoever gives them.

use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use credit_ledger_verify::Hash;
use credit_ledger_verify::chain::GENESIS;
use credit_ledger_verify::record::{EndRecord, EventRecord, SealRecord};
use serde::Serialize;
use utoipa::ToSchema;

use super::super::body::invalid;
use super::super::identity::backend;
use super::super::page::{Page, no_query};
use super::super::problem::{Code, Problem};
use super::LoggedEvent;
use crate::access::Scope;
use crate::app::App;

/// A seal: the ledger says, signed, which events there are. A witness is told the same, byte for byte.
#[derive(Debug, Serialize, ToSchema)]
pub struct Seal {
    /// 1, 2, 3 … without holes.
    seal: i64,
    /// When it was made, in microseconds since 1970-01-01 UTC.
    sealed_at_us: i64,
    /// How many events are new in it.
    events: i64,
    /// The root of the tree over those events.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    root: String,
    /// Where every shard ends with it.
    ends: Vec<SealedEnd>,
    /// The root of the tree over all seals up to it.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    head: String,
    /// Who signed: the first 16 hex digits of the SHA-256 of the public key's 32 bytes.
    key_id: String,
    /// Ed25519 over the number and the head.
    #[schema(pattern = "^[0-9a-f]{128}$")]
    signature: String,
}

/// Where a shard ends.
#[derive(Debug, Serialize, ToSchema)]
pub struct SealedEnd {
    shard: i16,
    /// Its last position; 0: it has no events.
    position: i64,
    /// The hash of its last event.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    hash: String,
}

impl From<SealRecord> for Seal {
    fn from(record: SealRecord) -> Self {
        let SealRecord {
            seal,
            sealed_at_us,
            events,
            root,
            ends,
            head,
            key_id,
            signature,
        } = record;
        let end = |end: EndRecord| SealedEnd {
            shard: end.shard,
            position: end.position,
            hash: hex::encode(end.hash),
        };
        Self {
            seal,
            sealed_at_us,
            events,
            root: hex::encode(root),
            ends: ends.into_iter().map(end).collect(),
            head: hex::encode(head),
            key_id,
            signature: hex::encode(signature),
        }
    }
}

/// That an event is in the history, and since when.
#[derive(Debug, Serialize, ToSchema)]
pub struct EventProof {
    event: LoggedEvent,
    /// The hash before the event's in its shard.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    previous: String,
    /// That the event is in the seal.
    proof: Inclusion,
    seal: Seal,
    /// That the seal is in its own head: the proof of RFC 6962 for the last leaf of as many as the seal's number.
    seal_path: Vec<String>,
}

/// That an event is in a seal: the proof of RFC 6962 that its leaf is in the tree with the seal's `root`.
#[derive(Debug, Serialize, ToSchema)]
pub struct Inclusion {
    /// The seal.
    seal: i64,
    /// The place of the leaf, from 0.
    index: u64,
    /// How many leaves the tree has: as many as the seal has events.
    size: i64,
    /// The proof, the deepest hash first.
    path: Vec<String>,
}

/// That two seals are of one history.
#[derive(Debug, Serialize, ToSchema)]
pub struct Consistency {
    first: Seal,
    second: Seal,
    /// The proof of RFC 6962 that the tree with the head of `first` is the beginning of that with the head of `second`, the
    /// deepest hash first. Each tree has as many leaves as its seal's number.
    path: Vec<String>,
}

/// `GET /v1/audit/seals`
///
/// # Errors
/// `unauthenticated`, `insufficient_scope`, `invalid_request` for the page, `unavailable`, `internal`.
pub async fn seals(app: Data<App>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    backend(&app, &request, Scope::Audit).await?;
    let page: Page<i64> = Page::of(&request)?;
    let before = page.cursor.unwrap_or(i64::MAX);
    let rows = app.seals.before(before, page.fetch()).await?;
    Ok(HttpResponse::Ok().json(page.answer(rows, Seal::from, |row| row.seal)))
}

/// `GET /v1/audit/proof/{shard}/{position}`
///
/// # Errors
/// As [`seals`]; `not_found` for an event that is not there, `not_sealed_yet`.
pub async fn proof(
    app: Data<App>,
    path: Path<(String, String)>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    backend(&app, &request, Scope::Audit).await?;
    no_query(&request)?;
    let (event, previous) = event_at(&app, &path.0, &path.1).await?;
    let found = app.seals.inclusion(&event).await?;
    let found = found.ok_or_else(|| {
        let detail =
            "the event is in no seal yet; where seals are made it will be in a few seconds";
        Code::NotSealedYet.because(detail)
    })?;
    Ok(HttpResponse::Ok().json(EventProof {
        event: event.into(),
        previous: hex::encode(previous),
        proof: Inclusion {
            seal: found.seal.seal,
            index: found.index,
            size: found.seal.events,
            path: hashes(&found.path),
        },
        seal: found.seal.into(),
        seal_path: hashes(&found.seal_path),
    }))
}

/// An event, and the hash before it.
async fn event_at(app: &App, shard: &str, position: &str) -> Result<(EventRecord, Hash), Problem> {
    let no_event = || Code::NotFound.because("there is no such event");
    let shard: i16 = shard.parse().map_err(|_| no_event())?;
    let position: i64 = position.parse().map_err(|_| no_event())?;
    if position < 1 {
        return Err(no_event());
    }
    // The one before it as well, whose hash it follows.
    let mut events = app.reads.events(shard, (position - 2).max(0), 2).await?;
    let at = events.iter().position(|event| event.position == position);
    let event = events.swap_remove(at.ok_or_else(no_event)?);
    let before = events.iter().find(|one| one.position == position - 1);
    Ok((event, before.map_or(GENESIS, |before| before.hash)))
}

/// `GET /v1/audit/consistency/{first}/{second}`
///
/// # Errors
/// As [`seals`]; `not_found` for a seal that is not there, `invalid_request` when the first is behind the second.
pub async fn consistency(
    app: Data<App>,
    path: Path<(String, String)>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    backend(&app, &request, Scope::Audit).await?;
    no_query(&request)?;
    let no_seal = || Code::NotFound.because("there is no such seal");
    let first: i64 = path.0.parse().map_err(|_| no_seal())?;
    let second: i64 = path.1.parse().map_err(|_| no_seal())?;
    if first > second {
        return Err(invalid("first", "must not be behind the second"));
    }
    let found = app.seals.consistency(first, second).await?;
    let found = found.ok_or_else(no_seal)?;
    Ok(HttpResponse::Ok().json(Consistency {
        first: found.first.into(),
        second: found.second.into(),
        path: hashes(&found.path),
    }))
}

fn hashes(path: &[Hash]) -> Vec<String> {
    path.iter().map(hex::encode).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a witness is told and an item of a list say the same, byte for byte.
    #[test]
    fn a_seal_looks_the_same_everywhere() {
        let record = SealRecord {
            seal: 3,
            sealed_at_us: 1,
            events: 2,
            root: [1; 32],
            ends: vec![EndRecord {
                shard: 0,
                position: 2,
                hash: [2; 32],
            }],
            head: [3; 32],
            key_id: "0123456789abcdef".to_owned(),
            signature: [4; 64],
        };
        let told = serde_json::to_string(&record).unwrap();
        assert_eq!(serde_json::to_string(&Seal::from(record)).unwrap(), told);
    }
}
