-- The states of streams after a batch.
-- $1 text[] aggregate types, $2 text[] aggregate ids, $3 smallint[] shards, $4 bigint[] versions, $5 text[] states
insert into streams as known (aggregate_type, aggregate_id, shard, version, state)
select aggregate_type, aggregate_id, shard, version, state::json
  from unnest($1::text[], $2::text[], $3::smallint[], $4::bigint[], $5::text[])
       as item(aggregate_type, aggregate_id, shard, version, state)
    on conflict (aggregate_type, aggregate_id, shard) do update
   set version = excluded.version, state = excluded.state
