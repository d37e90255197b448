-- These were looked at.
-- $1 bigint[]: ids
-- Locks: the rows. Whoever looked at the same ones finds them gone.
delete from outbox where id = any($1)
