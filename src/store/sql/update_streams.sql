-- The states of streams that went on in a batch.
-- $1 stream_row[]
-- Locks: the rows, which only who holds the lock of their shard writes.
update streams s
   set version = item.version, state = item.state::json, due_at_s = item.due_at_s
  from unnest($1::pg_temp.stream_row[]) as item
 where s.aggregate_type = item.aggregate_type and s.aggregate_id = item.aggregate_id and s.shard = item.shard
