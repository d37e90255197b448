-- Where every shard ends, as it is committed now. No locks: who appends is not in the way, and does not wait.
select shard, position, hash from heads order by shard
