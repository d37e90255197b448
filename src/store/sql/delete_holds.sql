-- Holds that were settled; places of spends are none.
-- $1 settlement_row[]
-- Locks: the rows, which only who holds the lock of their shard writes.
delete from holds h
 using unnest($1::pg_temp.settlement_row[]) as item
 where h.shard = item.shard and h.position = item.position
