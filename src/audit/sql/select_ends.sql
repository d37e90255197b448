-- Where each shard ends.
select shard, position, hash, recorded_at from heads order by shard
