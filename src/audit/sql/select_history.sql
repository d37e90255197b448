-- The whole log in the order of time, and in the order of each shard. No parameters.
select shard, position, recorded_at, aggregate_type, aggregate_id, sequence, payload::text as payload, source,
       provider_event_id, metadata::text as metadata
  from events
 order by recorded_at, shard, position
