-- Events of some streams by place in the log, each with the hash before it in its shard.
-- $1 text[], $2 text[]: types and ids of the streams, pairwise
-- $3 smallint, $4 bigint: only those behind this shard and position
-- $5 bigint: at most so many
select e.shard, e.position, e.aggregate_type, e.aggregate_id, e.sequence, e.event_type, e.event_version,
       e.payload::text as payload, e.metadata::text as metadata, e.recorded_at, e.source, e.provider_event_id, e.hash,
       (select before.hash from events before where before.shard = e.shard and before.position = e.position - 1) as previous
  from unnest($1::text[], $2::text[]) as stream(aggregate_type, aggregate_id)
  join events e using (aggregate_type, aggregate_id)
 where (e.shard, e.position) > ($3, $4)
 order by e.shard, e.position
 limit $5
