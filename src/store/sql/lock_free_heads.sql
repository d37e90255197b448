-- The ends of the shards that a batch appends to, locked until it commits; without those that somebody else has locked.
-- $1 smallint[]: shards
-- Locks: heads rows, as `lock_heads`, but never waits; whoever gets fewer than asked for must end the transaction.
select shard, position, hash, recorded_at from heads where shard = any($1) order by shard for update skip locked
