-- The ends of the shards that a batch appends to, locked until it commits.
-- $1 smallint[]: shards
-- Locks: heads rows, in the order of shards; taken before anything is read, so that all reads are newer.
select shard, position, hash, recorded_at from heads where shard = any($1) order by shard for update
