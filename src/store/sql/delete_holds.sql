-- Holds that were settled; places of spends are none.
-- $1 smallint[] shards, $2 bigint[] positions
-- Locks: the rows, which only who holds the lock of their shard writes.
delete from holds h
 using unnest($1::smallint[], $2::bigint[]) as item(shard, position)
 where h.shard = item.shard and h.position = item.position
