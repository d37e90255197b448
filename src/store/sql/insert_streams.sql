-- The states of streams that began in a batch. Who holds the lock of their shard saw that they were not there.
-- $1 text[] aggregate types, $2 text[] aggregate ids, $3 smallint[] shards, $4 bigint[] versions, $5 text[] states
insert into streams (aggregate_type, aggregate_id, shard, version, state)
select aggregate_type, aggregate_id, shard, version, state::json
  from unnest($1::text[], $2::text[], $3::smallint[], $4::bigint[], $5::text[])
       as item(aggregate_type, aggregate_id, shard, version, state)
