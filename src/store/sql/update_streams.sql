-- The states of streams that went on in a batch.
-- $1 text[] aggregate types, $2 text[] aggregate ids, $3 smallint[] shards, $4 bigint[] versions, $5 text[] states
-- Locks: the rows, which only who holds the lock of their shard writes.
update streams s
   set version = item.version, state = item.state::json
  from unnest($1::text[], $2::text[], $3::smallint[], $4::bigint[], $5::text[])
       as item(aggregate_type, aggregate_id, shard, version, state)
 where s.aggregate_type = item.aggregate_type and s.aggregate_id = item.aggregate_id and s.shard = item.shard
