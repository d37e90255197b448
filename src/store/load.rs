//! Round trip (a): lock the ends of the shards, then read everything that the batch decides on.

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::{DateTime, Utc};
use credit_ledger_verify::Hash;
use futures_util::future::join4;
use postgres_types::{FromSql, ToSql};
use tokio_postgres::{Client, Row};

use super::composites::{
    AnsweredRow, DeliveryKey, FoundRow, HeadRow, RequestKey, StreamKey, TriedRow,
};
use super::home::Shard;
use super::plan::Plan;
use super::statements::{AT_DATABASE, StatementError, Statements};
use super::unit::Answer;
use crate::ledger::user::ReadRows;
use crate::ledger::{Place, PurchaseId, Settlement, StreamId, UserId};

/// The end of a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) position: i64,
    pub(super) hash: Hash,
    pub(super) recorded_at: DateTime<Utc>,
}

/// A stream as it is stored.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) version: i64,
    pub(super) state: String,
}

/// What became of a stored delivery so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tried {
    pub(super) outcome: String,
    pub(super) attempts: i32,
    pub(super) due_at: Option<DateTime<Utc>>,
}

/// A request that was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answered {
    pub(super) digest: Vec<u8>,
    pub(super) fields: BTreeMap<String, String>,
    pub(super) answer: Answer,
}

/// All that was read, under the locks of `heads`.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    /// What time it was at the database when it had read.
    pub(super) at_database: DateTime<Utc>,
    pub(super) heads: HashMap<Shard, Head>,
    /// Where recorded purchases live.
    pub(super) homes: HashMap<PurchaseId, Shard>,
    /// Source and key of deliveries that are stored.
    pub(super) inbox: HashSet<(String, String)>,
    /// What became so far, and after how many tries, of the deliveries that are tried again.
    pub(super) retried: HashMap<(String, String), Tried>,
    /// Requests that were answered, by principal and idempotency key.
    pub(super) requests: HashMap<(String, String), Answered>,
    /// Streams by where they were found.
    pub(super) streams: HashMap<(StreamId, Shard), Stored>,
    /// Rows of users that were asked for.
    pub(super) rows: HashMap<UserId, ReadRows>,
    /// Of the holds and spends that were asked for, those that are settled.
    pub(super) settlements: HashMap<Place, Settlement>,
}

/// The level is said, because the server's default may be another, whose snapshot would be older than the locks.
pub(super) const BEGIN: &str = "begin isolation level read committed";

/// How a batch comes to the locks of its heads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Locking {
    /// Begins a transaction; gives up at once if somebody else has one of them.
    IfFree,
    /// Begins a transaction; waits for them.
    Wait,
    /// Waits for them in the transaction that is begun.
    WaitInTurn,
}

/// Begins the transaction, locks, reads. `None`: somebody else has a head, and nothing was read.
pub(super) async fn load(
    client: &Client,
    statements: &Statements,
    plan: &Plan,
    locking: Locking,
) -> Result<Option<Loaded>, StatementError> {
    let shards: Vec<Shard> = plan.shards.iter().copied().collect();
    let tried: Vec<DeliveryKey> = plan.retried.iter().map(DeliveryKey::of).collect();
    let keys: Vec<DeliveryKey> = plan.inbox.iter().map(DeliveryKey::of).collect();
    let asked: Vec<RequestKey<'_>> = plan.requests.iter().map(RequestKey::of).collect();
    let streams: Vec<StreamKey<'_>> = plan.streams.iter().map(StreamKey::of).collect();
    let waits = locking != Locking::IfFree;
    let params: [&(dyn ToSql + Sync); 6] = [&shards, &tried, &keys, &asked, &streams, &waits];

    // Polled in this order, so sent in this order, in one go: what is read is newer than the locks.
    let begin = async {
        match locking {
            Locking::IfFree | Locking::Wait => client.batch_execute(BEGIN).await,
            Locking::WaitInTurn => Ok(()),
        }
    };
    let locked = client.query_one(&statements.load, &params);
    let rows = statements.rows.read(client, &plan.rows);
    let settlements = statements.rows.read_settlements(client, &plan.settlements);
    let (started, loaded, rows, settlements) = join4(begin, locked, rows, settlements).await;
    started?;
    let loaded = read(&loaded?)?;
    let (rows, settlements) = (rows?, settlements?);
    let all_locked = loaded.heads.len() == shards.len();
    Ok((all_locked || waits).then_some(Loaded {
        rows,
        settlements,
        ..loaded
    }))
}

fn read(row: &Row) -> Result<Loaded, StatementError> {
    let at_database: Option<DateTime<Utc>> = row.try_get(AT_DATABASE)?;
    let mut loaded = Loaded {
        at_database: at_database.unwrap_or_default(),
        ..Loaded::default()
    };
    for end in rows::<HeadRow>(row, "locked")? {
        loaded.heads.insert(end.shard, end.head()?);
    }
    for tried in rows::<TriedRow>(row, "tried")? {
        let became = Tried {
            outcome: tried.outcome,
            attempts: tried.attempts,
            due_at: tried.next_attempt_at,
        };
        loaded.retried.insert((tried.source, tried.key), became);
    }
    for stored in rows::<DeliveryKey>(row, "stored")? {
        loaded.inbox.insert((stored.source, stored.key));
    }
    for answered in rows::<AnsweredRow>(row, "answered")? {
        let key = (answered.principal, answered.idempotency_key);
        let answered = Answered {
            digest: answered.digest,
            fields: serde_json::from_str(&answered.fields).map_err(corrupt)?,
            answer: Answer {
                status: answered.status,
                body: answered.body,
            },
        };
        loaded.requests.insert(key, answered);
    }
    for found in rows::<FoundRow>(row, "loaded")? {
        let stream =
            StreamId::parse(&found.aggregate_type, &found.aggregate_id).map_err(corrupt)?;
        if let StreamId::Purchase(id) = &stream {
            loaded.homes.insert(id.clone(), found.shard);
        }
        let stored = Stored {
            version: found.version,
            state: found.state,
        };
        loaded.streams.insert((stream, found.shard), stored);
    }
    Ok(loaded)
}

/// None where nothing was asked.
fn rows<'a, R>(row: &'a Row, name: &str) -> Result<Vec<R>, StatementError>
where
    Vec<R>: FromSql<'a>,
{
    Ok(row.try_get::<_, Option<Vec<R>>>(name)?.unwrap_or_default())
}

/// Not ours to repair, and nothing of it may be repeated in a log.
pub(super) fn corrupt<E>(_: E) -> StatementError {
    StatementError::Data(
        "value".to_owned(),
        "a stored id, hash or request".to_owned(),
    )
}
