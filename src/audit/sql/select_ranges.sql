-- Events of ranges of positions, range by range, with the very bytes that were hashed.
-- $1 smallint[], $2 bigint[], $3 bigint[]: of each range its shard, the position before it, and its last position
select range.number, e.shard, e.position, e.aggregate_type, e.aggregate_id, e.sequence, e.event_type, e.event_version,
       e.payload::text as payload, e.metadata::text as metadata, e.recorded_at, e.source, e.provider_event_id, e.hash
  from unnest($1::smallint[], $2::bigint[], $3::bigint[]) with ordinality as range(shard, after, upto, number)
  join events e on e.shard = range.shard and e.position > range.after and e.position <= range.upto
 order by range.number, e.position
