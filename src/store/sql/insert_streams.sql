-- The states of streams that began in a batch. Who holds the lock of their shard saw that they were not there.
-- $1 text[] aggregate types, $2 text[] aggregate ids, $3 smallint[] shards, $4 bigint[] versions, $5 text[] states,
-- $6 bigint[] when they change by themselves, seconds since 1970
insert into streams (aggregate_type, aggregate_id, shard, version, state, due_at_s)
select aggregate_type, aggregate_id, shard, version, state::json, due_at_s
  from unnest($1::text[], $2::text[], $3::smallint[], $4::bigint[], $5::text[], $6::bigint[])
       as item(aggregate_type, aggregate_id, shard, version, state, due_at_s)
