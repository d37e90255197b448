-- New deliveries, with what became of them. Fails with inbox_pkey when another instance stored one just now.
-- $1 inbox_row[], in the order of keys
-- Locks: the new keys, as given.
insert into inbox (source, key, provider_event_id, body, body_sha256, headers, secret, received_at, outcome, reason,
                   shards, positions, waits_for, next_attempt_at, erased_at)
select source, key, provider_event_id, body, body_sha256, headers::json, secret, received_at, outcome, reason,
       shards, positions, waits_for, next_attempt_at, erased_at
  from unnest($1::pg_temp.inbox_row[])
