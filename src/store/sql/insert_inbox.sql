-- New deliveries, with what became of them. Fails with inbox_pkey when another instance stored one just now.
-- $1 text[] sources, $2 text[] keys, $3 text[] provider event ids, $4 bytea[] bodies, $5 bytea[] their SHA-256,
-- $6 text[] signature headers (JSON), $7 text[] fingerprints of the secrets that matched, $8 timestamptz[] times of
-- receipt, $9 text[] outcomes, $10 text[] reasons, $11 text[] shards and $12 text[] positions of the events they led
-- to (array literals: rows differ in length), $13 text[] what they wait for, $14 timestamptz[] when they are due again,
-- $15 timestamptz[] when their bodies were erased
-- Locks: the new keys, in their order.
insert into inbox (source, key, provider_event_id, body, body_sha256, headers, secret, received_at, outcome, reason,
                   shards, positions, waits_for, next_attempt_at, erased_at)
select source, key, provider_event_id, body, body_sha256, headers::json, secret, received_at, outcome, reason,
       shards::smallint[], positions::bigint[], waits_for, next_attempt_at, erased_at
  from unnest($1::text[], $2::text[], $3::text[], $4::bytea[], $5::bytea[], $6::text[], $7::text[],
              $8::timestamptz[], $9::text[], $10::text[], $11::text[], $12::text[], $13::text[], $14::timestamptz[],
              $15::timestamptz[])
       as item(source, key, provider_event_id, body, body_sha256, headers, secret, received_at, outcome, reason,
              shards, positions, waits_for, next_attempt_at, erased_at)
 order by source collate "C", key collate "C"
