-- All events of a user, in the order of the stream.
-- $1 text: user id
select shard, position, recorded_at, aggregate_type, aggregate_id, sequence, payload::text as payload, source,
       provider_event_id, metadata::text as metadata
  from events
 where aggregate_id = $1 and aggregate_type = 'user'
 order by sequence
