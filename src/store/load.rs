//! Round trip (a): lock the ends of the shards, then read everything that the batch decides on.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use chrono::{DateTime, Utc};
use credit_ledger_verify::Hash;
use futures_util::future::{join3, join4, try_join};
use tokio_postgres::{Client, Row};

use super::home::Shard;
use super::plan::Plan;
use super::statements::{StatementError, Statements};
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
    pub(super) heads: HashMap<Shard, Head>,
    /// Where recorded purchases live, wherever they were looked for. `homes` guards that it is one place; a purchase's
    /// stream has been there for as long, so reading the stream is enough.
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

/// Begins the transaction, locks, reads.
pub(super) async fn load(
    client: &Client,
    statements: &Statements,
    plan: &Plan,
) -> Result<Loaded, StatementError> {
    let (types, ids): (Vec<&str>, Vec<&str>) = plan
        .streams
        .iter()
        .map(|stream| (stream.aggregate_type(), stream.aggregate_id()))
        .unzip();
    let (sources, keys) = pairs(&plan.inbox);
    let (tried_sources, tried_keys) = pairs(&plan.retried);
    let (principals, asked) = pairs(&plan.requests);
    let shards: Vec<Shard> = plan.shards.iter().copied().collect();

    // Polled in this order, so sent in this order, in one go: each later statement sees what was committed before
    // the locks were taken.
    let begin_and_lock = async {
        // Said, because the server's default may be another, whose snapshot would be older than the locks.
        let begin = client.batch_execute("begin isolation level read committed");
        let lock = async {
            if shards.is_empty() {
                Ok(vec![])
            } else {
                client.query(&statements.lock_heads, &[&shards]).await
            }
        };
        let lock_retried = async {
            if tried_keys.is_empty() {
                Ok(vec![])
            } else {
                client
                    .query(&statements.lock_retried, &[&tried_sources, &tried_keys])
                    .await
            }
        };
        let (started, heads, retried) = join3(begin, lock, lock_retried).await;
        started?;
        Ok::<_, tokio_postgres::Error>((heads?, retried?))
    };
    let guards = async {
        let inbox = async {
            if keys.is_empty() {
                Ok(vec![])
            } else {
                client
                    .query(&statements.select_inbox, &[&sources, &keys])
                    .await
            }
        };
        let requests = async {
            if asked.is_empty() {
                Ok(vec![])
            } else {
                client
                    .query(&statements.select_requests, &[&principals, &asked])
                    .await
            }
        };
        try_join(inbox, requests).await
    };
    let streams = async {
        if ids.is_empty() {
            Ok(vec![])
        } else {
            client
                .query(&statements.select_streams, &[&types, &ids])
                .await
        }
    };
    let rows = try_join(
        statements.rows.read(client, &plan.rows),
        statements.rows.read_settlements(client, &plan.settlements),
    );
    let (locked, guards, streams, rows) = join4(begin_and_lock, guards, streams, rows).await;
    let (heads, retried) = locked?;
    let (inbox, requests) = guards?;
    let loaded = read(&heads, &retried, &inbox, &requests, &streams?)?;
    let (rows, settlements) = rows?;
    Ok(Loaded {
        rows,
        settlements,
        ..loaded
    })
}

/// Pairs as two columns.
fn pairs(keys: &BTreeSet<(String, String)>) -> (Vec<&str>, Vec<&str>) {
    keys.iter()
        .map(|(one, other)| (one.as_str(), other.as_str()))
        .unzip()
}

fn read(
    heads: &[Row],
    retried: &[Row],
    inbox: &[Row],
    requests: &[Row],
    streams: &[Row],
) -> Result<Loaded, StatementError> {
    let mut loaded = Loaded::default();
    for row in heads {
        let head = Head {
            position: row.try_get("position")?,
            hash: hash(row.try_get("hash")?)?,
            recorded_at: row.try_get("recorded_at")?,
        };
        loaded.heads.insert(row.try_get("shard")?, head);
    }
    for row in retried {
        let tried = Tried {
            outcome: row.try_get("outcome")?,
            attempts: row.try_get("attempts")?,
            due_at: row.try_get("next_attempt_at")?,
        };
        let key = (row.try_get("source")?, row.try_get("key")?);
        loaded.retried.insert(key, tried);
    }
    for row in inbox {
        loaded
            .inbox
            .insert((row.try_get("source")?, row.try_get("key")?));
    }
    for row in requests {
        let answered = Answered {
            digest: row.try_get("digest")?,
            fields: serde_json::from_str(row.try_get("fields")?).map_err(corrupt)?,
            answer: Answer {
                status: row.try_get("status")?,
                body: row.try_get("body")?,
            },
        };
        let key = (row.try_get("principal")?, row.try_get("idempotency_key")?);
        loaded.requests.insert(key, answered);
    }
    for row in streams {
        let stream = StreamId::parse(row.try_get("aggregate_type")?, row.try_get("aggregate_id")?)
            .map_err(corrupt)?;
        let shard = row.try_get("shard")?;
        if let StreamId::Purchase(id) = &stream {
            loaded.homes.insert(id.clone(), shard);
        }
        let stored = Stored {
            version: row.try_get("version")?,
            state: row.try_get("state")?,
        };
        loaded.streams.insert((stream, shard), stored);
    }
    Ok(loaded)
}

fn hash(bytes: &[u8]) -> Result<Hash, StatementError> {
    bytes.try_into().map_err(corrupt)
}

/// Not ours to repair, and nothing of it may be repeated in a log.
fn corrupt<E>(_: E) -> StatementError {
    StatementError::Data(
        "value".to_owned(),
        "a stored id, hash or request".to_owned(),
    )
}
