-- Parked deliveries whose time has come, the longest due first.
-- $1 timestamptz: now
-- $2 bigint: at most so many
select source, key, attempts
  from inbox
 where outcome = 'parked' and coalesce(next_attempt_at, received_at) <= $1
 order by coalesce(next_attempt_at, received_at), key
 limit $2
