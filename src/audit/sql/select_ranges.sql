-- Events of ranges of positions, range by range, with the very bytes that were hashed. Each range is a walk along
-- `events_position_key` of its own (the offset keeps it so): no statistics know how narrow the ranges are.
-- $1 smallint[], $2 bigint[], $3 bigint[]: of each range its shard, the position before it, and its last position
select range.number, e.shard, e.position, e.aggregate_type, e.aggregate_id, e.sequence, e.event_type, e.event_version,
       e.payload, e.metadata, e.recorded_at, e.source, e.provider_event_id, e.hash
  from unnest($1::smallint[], $2::bigint[], $3::bigint[]) with ordinality as range(shard, after, upto, number)
 cross join lateral (
       select shard, position, aggregate_type, aggregate_id, sequence, event_type, event_version,
              payload::text as payload, metadata::text as metadata, recorded_at, source, provider_event_id, hash
         from events
        where shard = range.shard and position > range.after and position <= range.upto
       offset 0) as e
 order by range.number, e.position
