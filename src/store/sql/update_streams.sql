-- The states of streams that went on in a batch.
-- $1 text[] aggregate types, $2 text[] aggregate ids, $3 smallint[] shards, $4 bigint[] versions, $5 text[] states,
-- $6 bigint[] when they change by themselves, seconds since 1970
-- Locks: the rows, which only who holds the lock of their shard writes.
update streams s
   set version = item.version, state = item.state::json, due_at_s = item.due_at_s
  from unnest($1::text[], $2::text[], $3::smallint[], $4::bigint[], $5::text[], $6::bigint[])
       as item(aggregate_type, aggregate_id, shard, version, state, due_at_s)
 where s.aggregate_type = item.aggregate_type and s.aggregate_id = item.aggregate_id and s.shard = item.shard
