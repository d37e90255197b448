-- Lots that are no rows any more: they burn next, or are used up.
-- $1 text[] users, $2 bigint[] lots: pairwise
-- Locks: the rows, which only who holds the lock of their shard writes.
delete from lots l
 using unnest($1::text[], $2::bigint[]) as item(user_id, lot)
 where l.user_id = item.user_id and l.lot = item.lot
