-- The events of `batch`, as the live statements of the read models take them.
select shard, position, aggregate_id, sequence, event_type, payload::text as payload, recorded_at, source,
       provider_event_id, profile::text as profile, delta, balance, held, debt, purchase_id
  from batch
 order by position
