//! The rows of seals, and those of the log that seals are made of. Each statement is a file in `sql/`.

use std::collections::HashMap;
use std::ops::Range;

use chrono::{DateTime, Utc};
use credit_ledger_verify::Hash;
use credit_ledger_verify::merkle::{self, NodeId};
use credit_ledger_verify::record::{EndRecord, SealRecord};
use deadpool_postgres::GenericClient;
use futures_util::future::try_join_all;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::{Changed, SealError};
use crate::audit;
use crate::audit::rows::UnreadableRow;

/// Events of a shard: those behind `after`, up to `upto`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    pub shard: i16,
    pub after: i64,
    pub upto: i64,
}

/// How far sealing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    /// The last seal; 0: there is none.
    pub seal: i64,
    /// How many events are in no seal.
    pub unsealed: i64,
    /// When the oldest of them was recorded.
    pub oldest: Option<DateTime<Utc>>,
}

async fn query(
    client: &impl GenericClient,
    sql: &'static str,
    params: &[&(dyn ToSql + Sync)],
) -> Result<Vec<Row>, SealError> {
    let statement = client.prepare_cached(sql).await?;
    Ok(client.query(&statement, params).await?)
}

/// Makes the transaction the only one that does this. False: another one is at it.
pub async fn lock(client: &impl GenericClient, what: i64) -> Result<bool, SealError> {
    let rows = query(client, include_str!("sql/lock_sealing.sql"), &[&what]).await?;
    let row = rows.first().ok_or(SealError::Unreadable)?;
    column(row, "taken")
}

/// Seals before one, newest first.
pub async fn before(
    client: &impl GenericClient,
    seal: i64,
    limit: i64,
) -> Result<Vec<SealRecord>, SealError> {
    let sql = include_str!("sql/page_seals.sql");
    let rows = query(client, sql, &[&seal, &limit]).await?;
    rows.iter().map(record).collect()
}

/// Seals from one on, oldest first.
pub async fn from(
    client: &impl GenericClient,
    seal: i64,
    limit: i64,
) -> Result<Vec<SealRecord>, SealError> {
    let seals = follow(client, seal, limit).await?.into_iter();
    let seals = seals.map(|(_, seal)| seal.map_err(|_| SealError::Unreadable));
    seals.collect()
}

/// The same, each with its number, though some of them can not be read.
pub async fn follow(
    client: &impl GenericClient,
    seal: i64,
    limit: i64,
) -> Result<Vec<(i64, Result<SealRecord, UnreadableRow>)>, SealError> {
    let sql = include_str!("sql/follow_seals.sql");
    let rows = query(client, sql, &[&seal, &limit]).await?;
    let seals = rows.iter();
    let seals = seals.map(|row| Ok((column(row, "seal")?, audit::rows::seal(row))));
    seals.collect()
}

/// The number of the last seal, though it may not be readable; 0: there is none.
pub async fn last_number(client: &impl GenericClient) -> Result<i64, SealError> {
    let sql = include_str!("sql/page_seals.sql");
    let rows = query(client, sql, &[&i64::MAX, &1_i64]).await?;
    rows.first().map_or(Ok(0), |row| column(row, "seal"))
}

/// What time it is at the database.
pub async fn time(client: &impl GenericClient) -> Result<DateTime<Utc>, SealError> {
    let rows = query(client, "select clock_timestamp() as time", &[]).await?;
    rows.first()
        .map_or(Err(SealError::Unreadable), |row| column(row, "time"))
}

/// The last seal.
pub async fn last(client: &impl GenericClient) -> Result<Option<SealRecord>, SealError> {
    Ok(before(client, i64::MAX, 1).await?.pop())
}

/// One seal.
pub async fn one(client: &impl GenericClient, seal: i64) -> Result<Option<SealRecord>, SealError> {
    let found = from(client, seal, 1).await?.pop();
    Ok(found.filter(|found| found.seal == seal))
}

/// The number of the seal that an event is in.
pub async fn seal_of(
    client: &impl GenericClient,
    shard: i16,
    position: i64,
) -> Result<Option<i64>, SealError> {
    let sql = include_str!("sql/find_seal.sql");
    let rows = query(client, sql, &[&shard, &position]).await?;
    rows.first().map(|row| column(row, "seal")).transpose()
}

/// Where every shard ends now, by shard.
pub async fn heads(client: &impl GenericClient) -> Result<Vec<EndRecord>, SealError> {
    let heads = each_head(client).await?.into_iter();
    let heads = heads.map(|head| head.map_err(|_| SealError::Unreadable));
    heads.collect()
}

/// The same, though some of them can not be read.
pub async fn each_head(
    client: &impl GenericClient,
) -> Result<Vec<Result<EndRecord, UnreadableRow>>, SealError> {
    let rows = query(client, include_str!("sql/select_heads.sql"), &[]).await?;
    Ok(rows.iter().map(audit::rows::head).collect())
}

/// The hashes of the events of each stretch, in order.
///
/// # Errors
/// [`Changed::Hole`] where one is not there.
pub async fn hashes(
    client: &impl GenericClient,
    stretches: &[Stretch],
) -> Result<Vec<Vec<Hash>>, SealError> {
    let statement = client
        .prepare_cached(include_str!("sql/select_hashes.sql"))
        .await?;
    let read = stretches.iter().map(async |stretch| {
        let Stretch { shard, after, upto } = stretch;
        let rows = client.query(&statement, &[shard, after, upto]).await?;
        let mut hashes = Vec::with_capacity(rows.len());
        for (row, expected) in rows.iter().zip(after + 1..) {
            let position: i64 = column(row, "position")?;
            if position != expected {
                return Err(Changed::Hole(*shard, expected).into());
            }
            hashes.push(bytes(row, "hash")?);
        }
        let next = after + i64::try_from(hashes.len()).unwrap_or(i64::MAX) + 1;
        if next <= *upto {
            return Err(Changed::Hole(*shard, next).into());
        }
        Ok(hashes)
    });
    try_join_all(read).await
}

/// The roots of parts of the tree of seals.
///
/// # Errors
/// [`SealError::Unreadable`] when a seal is not there that completed one of them.
pub async fn roots(
    client: &impl GenericClient,
    ranges: &[Range<u64>],
) -> Result<Vec<Hash>, SealError> {
    let parts: Vec<Vec<NodeId>> = ranges.iter().map(merkle::perfect_nodes).collect();
    let nodes: Vec<NodeId> = parts.concat();
    let found: HashMap<NodeId, Hash> = nodes
        .iter()
        .copied()
        .zip(select_nodes(client, &nodes).await?)
        .collect();
    let roots = parts.iter().map(|part| {
        let hashes: Option<Vec<Hash>> = part.iter().map(|id| found.get(id).copied()).collect();
        merkle::join(&hashes?)
    });
    roots.collect::<Option<_>>().ok_or(SealError::Unreadable)
}

/// The tree of the first so many seals.
pub async fn tree(client: &impl GenericClient, seals: u64) -> Result<merkle::Tree, SealError> {
    let nodes = merkle::perfect_nodes(&(0..seals));
    let peaks = select_nodes(client, &nodes).await?;
    merkle::Tree::of_peaks(seals, peaks).ok_or(SealError::Unreadable)
}

/// As many as are asked for, in that order.
async fn select_nodes(
    client: &impl GenericClient,
    nodes: &[NodeId],
) -> Result<Vec<Hash>, SealError> {
    let seals: Result<Vec<i64>, _> = nodes
        .iter()
        .map(|node| i64::try_from(node.complete_at()))
        .collect();
    let levels: Result<Vec<i32>, _> = nodes.iter().map(|node| i32::try_from(node.level)).collect();
    let (Ok(seals), Ok(levels)) = (seals, levels) else {
        return Err(SealError::Unreadable);
    };
    let sql = include_str!("sql/select_nodes.sql");
    let rows = query(client, sql, &[&seals, &levels]).await?;
    if rows.len() != nodes.len() {
        return Err(SealError::Unreadable);
    }
    rows.iter().map(|row| bytes(row, "hash")).collect()
}

/// Stores a seal, with the perfect subtrees that it completes.
pub async fn insert(
    client: &impl GenericClient,
    record: &SealRecord,
    nodes: &[Hash],
) -> Result<(), SealError> {
    let sealed_at =
        DateTime::from_timestamp_micros(record.sealed_at_us).ok_or(SealError::Unreadable)?;
    let shards: Vec<i16> = record.ends.iter().map(|end| end.shard).collect();
    let positions: Vec<i64> = record.ends.iter().map(|end| end.position).collect();
    let hashes: Vec<&[u8]> = record.ends.iter().map(|end| &end.hash[..]).collect();
    let nodes: Vec<&[u8]> = nodes.iter().map(|node| &node[..]).collect();
    let params: [&(dyn ToSql + Sync); 11] = [
        &record.seal,
        &sealed_at,
        &record.events,
        &&record.root[..],
        &shards,
        &positions,
        &hashes,
        &&record.head[..],
        &nodes,
        &record.key_id,
        &&record.signature[..],
    ];
    query(client, include_str!("sql/insert_seal.sql"), &params)
        .await
        .map(drop)
}

/// How far sealing is.
pub async fn state(client: &impl GenericClient) -> Result<State, SealError> {
    let rows = query(client, include_str!("sql/select_state.sql"), &[]).await?;
    let row = rows.first().ok_or(SealError::Unreadable)?;
    Ok(State {
        seal: column(row, "seal")?,
        unsealed: column(row, "unsealed")?,
        oldest: column(row, "oldest")?,
    })
}

/// The last seal that a witness was told; 0: none.
pub async fn told(client: &impl GenericClient, witness: &str) -> Result<i64, SealError> {
    let rows = query(client, include_str!("sql/select_witness.sql"), &[&witness]).await?;
    let row = rows.first().map(|row| column(row, "seal"));
    Ok(row.transpose()?.unwrap_or(0))
}

/// Notes the last seal that a witness was told.
pub async fn note_told(
    client: &impl GenericClient,
    witness: &str,
    seal: i64,
) -> Result<(), SealError> {
    let sql = include_str!("sql/upsert_witness.sql");
    query(client, sql, &[&witness, &seal]).await.map(drop)
}

fn record(row: &Row) -> Result<SealRecord, SealError> {
    audit::rows::seal(row).map_err(|_| SealError::Unreadable)
}

fn column<'a, T: tokio_postgres::types::FromSql<'a>>(
    row: &'a Row,
    name: &str,
) -> Result<T, SealError> {
    row.try_get(name).map_err(|_| SealError::Unreadable)
}

fn bytes<const N: usize>(row: &Row, name: &str) -> Result<[u8; N], SealError> {
    let bytes: &[u8] = column(row, name)?;
    bytes.try_into().map_err(|_| SealError::Unreadable)
}
