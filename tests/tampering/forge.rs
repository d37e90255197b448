//! Forgeries by somebody who knows how the chain is made and may write everything but sign.

use chrono::{DateTime, Utc};
use credit_ledger_verify::Hash;
use credit_ledger_verify::chain::{GENESIS, Link, link};
use tokio_postgres::Client;

/// Makes the hashes of a shard again, from the first event on, and its head.
pub async fn chain(sql: &Client, shard: i16) {
    let events = sql
        .query(
            "select aggregate_type, aggregate_id, sequence, event_type, event_version, payload::text as payload,
                    metadata::text as metadata, position, recorded_at, source, provider_event_id
               from events where shard = $1 order by position",
            &[&shard],
        )
        .await
        .unwrap();
    let (mut hash, mut last): (Hash, Option<(i64, DateTime<Utc>)>) = (GENESIS, None);
    for event in events {
        let (position, recorded_at): (i64, DateTime<Utc>) =
            (event.get("position"), event.get("recorded_at"));
        hash = link(
            &hash,
            &Link {
                shard,
                position,
                aggregate_type: event.get("aggregate_type"),
                aggregate_id: event.get("aggregate_id"),
                sequence: event.get("sequence"),
                event_type: event.get("event_type"),
                event_version: event.get("event_version"),
                payload: event.get("payload"),
                metadata: event.get("metadata"),
                source: event.get("source"),
                provider_event_id: event.get("provider_event_id"),
                recorded_at_us: recorded_at.timestamp_micros(),
            },
        );
        let set = "update events set hash = $3 where shard = $1 and position = $2";
        let params: [&(dyn tokio_postgres::types::ToSql + Sync); 3] =
            [&shard, &position, &&hash[..]];
        assert_eq!(sql.execute(set, &params).await.unwrap(), 1);
        last = Some((position, recorded_at));
    }
    let (position, recorded_at) = last.unwrap_or((0, DateTime::UNIX_EPOCH));
    let set = "update heads set position = $2, hash = $3, recorded_at = $4 where shard = $1";
    let params: [&(dyn tokio_postgres::types::ToSql + Sync); 4] =
        [&shard, &position, &&hash[..], &recorded_at];
    assert_eq!(sql.execute(set, &params).await.unwrap(), 1);
}

/// Lets two positions of a shard change places, wherever they are named in a row of their own.
pub async fn swap(sql: &Client, shard: i16, one: i64, other: i64) {
    for table in ["events", "entries", "holds", "settlements"] {
        let swap = format!(
            "update {table} set position = 1000000 + position where shard = {shard} and position in ({one}, {other});
             update {table} set position = case when position = 1000000 + {one} then {other} else {one} end
              where shard = {shard} and position > 1000000"
        );
        sql.batch_execute(&swap).await.unwrap();
    }
    // `-1` stands for the one while both are there.
    let replaced = format!(
        "array_replace(array_replace(array_replace(positions, {one}, -1), {other}, {one}), -1, {other})"
    );
    let swap =
        format!("update inbox set positions = {replaced} where shards @> array[{shard}::smallint]");
    sql.batch_execute(&swap).await.unwrap();
}
