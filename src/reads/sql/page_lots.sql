-- Lots of a user behind those that burn next, the newest first.
-- $1 text: user id
-- $2 bigint: only those that came before this event
-- $3 bigint: at most so many
-- $4 bigint: now, seconds since 1970; what ended by then is left out
-- $5 bigint[]: lots that are known already
select lot, kind, priority, expires_at_s, purchase_id, amount, remaining, contested, expired, counted
  from lots
 where user_id = $1 and lot < $2 and remaining > 0
   and (expires_at_s is null or expires_at_s > $4 or contested > 0)
   and lot <> all ($5::bigint[])
 order by lot desc
 limit $3
