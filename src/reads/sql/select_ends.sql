-- The end of each shard.
select shard, position, recorded_at from heads order by shard
