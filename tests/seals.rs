//! Seals: made by whichever instance, in one chain, of exactly what is stored; proven; told to witnesses.

mod killed;
mod making;
mod proofs;
mod witnesses;

use chrono::{DateTime, Utc};
use credit_ledger_verify::Hash;
use credit_ledger_verify::merkle::{self, Tree};
use credit_ledger_verify::record::{EndRecord, SealRecord};
use credit_ledger_verify::seal::{PublicKey, event_leaf};

/// All seals, the oldest first, with the perfect subtrees that each completed.
async fn stored(sql: &tokio_postgres::Client) -> Vec<(SealRecord, Vec<Hash>)> {
    let rows = sql
        .query("select * from seals order by seal", &[])
        .await
        .unwrap();
    let hash = |bytes: &[u8]| Hash::try_from(bytes).unwrap();
    rows.iter()
        .map(|row| {
            let sealed_at: DateTime<Utc> = row.get("sealed_at");
            let shards: Vec<i16> = row.get("shards");
            let positions: Vec<i64> = row.get("positions");
            let hashes: Vec<&[u8]> = row.get("hashes");
            let nodes: Vec<&[u8]> = row.get("nodes");
            let ends = shards.into_iter().zip(positions).zip(hashes);
            let record = SealRecord {
                seal: row.get("seal"),
                sealed_at_us: sealed_at.timestamp_micros(),
                events: row.get("events"),
                root: hash(row.get("root")),
                ends: ends
                    .map(|((shard, position), bytes)| EndRecord {
                        shard,
                        position,
                        hash: hash(bytes),
                    })
                    .collect(),
                head: hash(row.get("head")),
                key_id: row.get("key_id"),
                signature: row.get::<_, &[u8]>("signature").try_into().unwrap(),
            };
            (record, nodes.into_iter().map(hash).collect())
        })
        .collect()
}

/// Fails unless the seals are one chain without holes over exactly the events that are stored, each signed by one of these
/// keys. Gives them, and how many events are in none.
async fn assert_chain(
    sql: &tokio_postgres::Client,
    keys: &[PublicKey],
) -> (Vec<SealRecord>, usize) {
    // Read first: whatever is in a seal is in the log.
    let seals = stored(sql).await;
    let rows = sql
        .query(
            "select shard, position, hash from events order by shard, position",
            &[],
        )
        .await
        .unwrap();
    let events: Vec<(i16, i64, Hash)> = rows
        .iter()
        .map(|row| {
            let hash: &[u8] = row.get(2);
            (row.get(0), row.get(1), hash.try_into().unwrap())
        })
        .collect();
    let heads = sql.query("select shard from heads order by shard", &[]);
    let shards: Vec<i16> = heads.await.unwrap().iter().map(|row| row.get(0)).collect();
    let mut before: Vec<EndRecord> = shards
        .into_iter()
        .map(|shard| EndRecord {
            shard,
            position: 0,
            hash: [0; 32],
        })
        .collect();
    let (mut history, mut records, mut sealed_at_us, mut count) = (Tree::default(), vec![], 0, 0);
    for (number, (record, nodes)) in (1..).zip(seals) {
        assert_eq!(record.seal, number, "seals have no holes");
        assert!(record.sealed_at_us >= sealed_at_us, "time runs forward");
        sealed_at_us = record.sealed_at_us;
        let mut leaves = vec![];
        for (old, new) in before.iter().zip(&record.ends) {
            assert_eq!(old.shard, new.shard);
            let inside = |position| old.position < position && position <= new.position;
            let of_shard = events
                .iter()
                .filter(|(shard, position, _)| *shard == new.shard && inside(*position));
            let hashes: Vec<Hash> = of_shard.map(|(_, _, hash)| *hash).collect();
            assert_eq!(hashes.last().unwrap_or(&old.hash), &new.hash);
            leaves.extend(hashes.iter().map(event_leaf));
        }
        assert_eq!(leaves.len(), usize::try_from(record.events).unwrap());
        assert_eq!(merkle::root(&leaves), record.root, "seal {number}");
        assert_eq!(history.push(record.batch().leaf()), nodes);
        assert_eq!(history.root(), record.head);
        let signer = keys.iter().find(|key| key.id() == record.key_id).unwrap();
        assert!(signer.verifies(record.seal, &record.head, &record.signature));
        count += leaves.len();
        before.clone_from(&record.ends);
        records.push(record);
    }
    (records, events.len() - count)
}
