-- Makes its transaction the only one that does this, until it ends. False: another one is at it.
-- $1 bigint: what is done
-- Locks: the advisory lock of this number, which nobody else waits for; no row.
select pg_try_advisory_xact_lock($1) as taken
