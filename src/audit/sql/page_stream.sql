-- Events of a stream, the oldest first, with the very bytes that were hashed.
-- $1 text, $2 text: type and id of the stream
-- $3 bigint: only those behind this place in the stream
-- $4 bigint: at most so many
select shard, position, aggregate_type, aggregate_id, sequence, event_type, event_version, payload::text as payload,
       metadata::text as metadata, recorded_at, source, provider_event_id, hash
  from events
 where aggregate_type = $1 and aggregate_id = $2 and sequence > $3
 order by sequence
 limit $4
