-- Events of a shard by position, with the very bytes that were hashed.
-- $1 smallint: shard
-- $2 bigint: only those behind this position
-- $3 bigint: at most so many
select shard, position, aggregate_type, aggregate_id, sequence, event_type, event_version, payload::text as payload,
       metadata::text as metadata, recorded_at, source, provider_event_id, hash
  from events
 where shard = $1 and position > $2
 order by position
 limit $3
