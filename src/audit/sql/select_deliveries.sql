-- Stored deliveries without their bodies.
-- $1 text[], $2 text[]: only those that these streams (types and ids, pairwise) came from; null: all
select source, key, provider_event_id, body_sha256, headers::text as headers, secret, received_at, outcome, reason,
       shards, positions, erased_at is not null as erased
  from inbox
 where $1::text[] is null
    or (source, key) in (select e.source, e.metadata->>'inbox'
                           from unnest($1::text[], $2::text[]) as stream(aggregate_type, aggregate_id)
                           join events e using (aggregate_type, aggregate_id))
 order by key, source
