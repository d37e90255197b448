-- Lots that are no rows any more: they burn next, or are used up.
-- $1 lot_key[]
-- Locks: the rows, which only who holds the lock of their shard writes.
delete from lots l
 using unnest($1::pg_temp.lot_key[]) as item
 where l.user_id = item.user_id and l.lot = item.lot
