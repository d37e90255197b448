-- The states of streams that began in a batch. Who holds the lock of their shard saw that they were not there. Fails with
-- streams_pkey when a purchase began in another shard just now.
-- $1 stream_row[], in the order of streams
-- Locks: the new keys, as given.
insert into streams (aggregate_type, aggregate_id, shard, version, state, due_at_s)
select aggregate_type, aggregate_id, shard, version, state::json, due_at_s
  from unnest($1::pg_temp.stream_row[])
