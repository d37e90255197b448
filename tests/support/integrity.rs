//! What must hold of every log, whatever was done to it: checked with SQL and the published rule of the hash chain,
//! not with the code that wrote it.

use chrono::{DateTime, Utc};
use credit_ledger_verify::Hash;
use credit_ledger_verify::chain::{self, Link};

use super::TestApp;

/// Counts of what may never be there, each with a name.
const IMPOSSIBLE: &[(&str, &str)] = &[
    (
        "payments captured twice",
        "select count(*) from (select from events where event_type = 'PaymentCaptured'
          group by aggregate_id having count(*) > 1) as twice",
    ),
    (
        "purchases credited twice",
        "select count(*) from (select from events where event_type = 'CreditsPurchased'
          group by payload->>'purchase_id' having count(*) > 1) as twice",
    ),
    (
        "sign-ups booked twice",
        "select count(*) from (select from events where event_type in
            ('UserRegistered', 'SignupBonusGranted', 'UserDeleted', 'ErasureRequested', 'UserErased', 'PayerErased')
          group by aggregate_id, event_type having count(*) > 1) as twice",
    ),
    (
        "streams with holes, or in two shards",
        "select count(*) from (select from events group by aggregate_type, aggregate_id
          having count(*) <> max(sequence) or min(sequence) <> 1 or min(shard) <> max(shard)) as broken",
    ),
    (
        "streams whose head is not their last event",
        "select count(*) from streams s full join
          (select aggregate_type, aggregate_id, shard, max(sequence) as version from events group by 1, 2, 3) as e
          using (aggregate_type, aggregate_id, shard, version) where s.state is null or e.shard is null",
    ),
    (
        "balances that are not the sum of their movements",
        "select count(*) from balance b full join
          (select aggregate_id as user_id, sum((payload->>'delta')::bigint) as balance from events
            where payload->>'delta' is not null group by 1) as e
          using (user_id) where b.balance is distinct from e.balance",
    ),
    (
        "purchases whose home is not where they live",
        "select count(*) from homes h full join
          (select distinct aggregate_id as purchase_id, shard from events where aggregate_type = 'purchase') as e
          using (purchase_id, shard) where h.shard is null or e.shard is null",
    ),
    (
        "recorded deliveries without their events, or events without their delivery",
        "select count(*) from (select source, key, unnest(shards) as shard, unnest(positions) as position from inbox) as i
          full join (select shard, position, source, metadata->>'inbox' as key from events where source in ('clerk', 'razorpay', 'stripe')) as e
          using (source, key, shard, position) where i is null or e is null",
    ),
    (
        "captured payments with a user and a price, without the credits",
        "select count(*) from purchases p where user_id is not null and sku is not null and part_of is null and captured and not exists
          (select from events e where e.aggregate_type = 'user' and e.aggregate_id = p.user_id
              and e.event_type = 'CreditsPurchased' and e.payload->>'purchase_id' = p.purchase_id)",
    ),
    (
        "users whose lots are not their balance without what holds reserve, or who misjudge the lots that are rows",
        "select count(*) from
          (select aggregate_id as user_id, coalesce((state->'lots'->'behind'->>'credits')::bigint, 0) as behind,
                  coalesce((state->>'balance')::bigint, 0) - coalesce((state->>'reserved')::bigint, 0) as owned,
                  (select coalesce(sum((lot->>'remaining')::bigint), 0) from json_array_elements(state->'lots'->'open') as lot) as front
             from streams where aggregate_type = 'user') as u
          full join (select user_id, sum(remaining) as remaining from lots group by 1) as l using (user_id)
          where u.owned is distinct from u.front + coalesce(l.remaining, 0) or u.behind is distinct from coalesce(l.remaining, 0)",
    ),
    (
        "open holds that are not those that were placed and not settled",
        "select count(*) from holds h full join
          (select e.* from events e left join settlements s using (shard, position)
            where e.event_type = 'CreditsHeld' and s.settlement is null) as e using (shard, position)
          where h.user_id is distinct from e.aggregate_id or h.times_out_at_s is distinct from (e.payload->>'times_out_at_s')::bigint",
    ),
    (
        "users who reserve other credits than those of their open holds",
        "select count(*) from
          (select aggregate_id as user_id, (state->>'reserved')::bigint as reserved
             from streams where aggregate_type = 'user' and (state->>'reserved')::bigint > 0) as u
          full join (select user_id, sum((payload->>'credits')::bigint) as reserved
             from holds join events using (shard, position) group by 1) as h using (user_id)
          where u.reserved is distinct from h.reserved",
    ),
    (
        "settlements that are not the one event that settles",
        "select count(*) from (select shard || '-' || position as place, settlement from settlements) as s full join
          (select coalesce(payload->>'hold_id', payload->>'entry_id') as place, min(event_type) as type, count(*) as times
             from events where event_type in ('HoldCaptured', 'HoldReleased', 'SpendReversed') group by 1) as e using (place)
          where e.times is distinct from 1 or s.settlement is null
             or (e.type = 'HoldCaptured') <> (s.settlement = 'captured') or (e.type = 'SpendReversed') <> (s.settlement = 'reversed')",
    ),
    (
        "personal data beside what was erased",
        "select count(*) from personal p join events e using (aggregate_type, aggregate_id)
          where e.event_type in ('UserErased', 'PayerErased')",
    ),
    (
        "users who are erased and were not deleted before, or whose purchases still know who paid",
        "select count(*) from users u where u.erased and not (u.deleted and u.erasure_requested)
            or u.erased and exists (select from purchases p where p.user_id = u.user_id and not p.payer_erased)",
    ),
    (
        "movements that took or gave other credits than their slices say",
        "select count(*) from events e cross join lateral
          (select coalesce(sum((slice->>'credits')::bigint), 0) as credits
             from json_array_elements(coalesce(e.payload->'slices', '[]'::json)) as slice) as slices
          where event_type in ('CreditsSpent', 'CreditsHeld', 'CreditsExpired', 'HoldCaptured')
            and slices.credits <> (payload->>'credits')::bigint",
    ),
];

/// Fails unless shards are dense, their hash chains link, and nothing impossible is stored.
pub async fn assert_log_is_whole(app: &TestApp) {
    let sql = app.sql().await;
    assert_chains_link(&sql).await;
    assert_eq!(impossible(&sql).await, Vec::<&str>::new());
}

/// What is stored that may never be there.
pub async fn impossible(sql: &tokio_postgres::Client) -> Vec<&'static str> {
    let mut found = Vec::new();
    for (what, count) in IMPOSSIBLE {
        let times: i64 = sql.query_one(*count, &[]).await.unwrap().get(0);
        found.extend((times > 0).then_some(*what));
    }
    found
}

async fn assert_chains_link(sql: &tokio_postgres::Client) {
    let heads = sql
        .query(
            "select shard, position, hash from heads order by shard",
            &[],
        )
        .await
        .unwrap();
    for head in heads {
        let shard: i16 = head.get("shard");
        let events = sql
            .query(
                "select aggregate_type, aggregate_id, sequence, event_type, event_version, payload::text as payload,
                        metadata::text as metadata, position, recorded_at, source, provider_event_id, hash
                   from events where shard = $1 order by position",
                &[&shard],
            )
            .await
            .unwrap();
        let (mut hash, mut position, mut time) = (chain::GENESIS, 0, DateTime::<Utc>::UNIX_EPOCH);
        for event in events {
            position += 1;
            assert_eq!(
                event.get::<_, i64>("position"),
                position,
                "positions of shard {shard} are dense"
            );
            let recorded_at: DateTime<Utc> = event.get("recorded_at");
            assert!(
                recorded_at >= time,
                "the time of shard {shard} runs forward"
            );
            time = recorded_at;
            hash = chain::link(
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
            assert_eq!(
                event.get::<_, &[u8]>("hash"),
                hash,
                "shard {shard}, position {position}"
            );
        }
        assert_eq!(
            head.get::<_, i64>("position"),
            position,
            "head of shard {shard}"
        );
        assert_eq!(
            head.get::<_, &[u8]>("hash"),
            hash as Hash,
            "head of shard {shard}"
        );
    }
}
