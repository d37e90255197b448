-- The lots behind the front that burn first, and one more, which tells where the rest begins.
-- $1 text[] users, $2 bigint[] how many: pairwise
select asked.user_id, l.lot, l.kind, l.priority, l.expires_at_s, l.purchase_id, l.amount, l.remaining, l.contested, l.expired, l.counted
  from unnest($1::text[], $2::bigint[]) as asked(user_id, rows)
 cross join lateral (
         select lot, kind, priority, expires_at_s, purchase_id, amount, remaining, contested, expired, counted
           from lots
          where lots.user_id = asked.user_id and remaining > 0
          order by priority, coalesce(expires_at_s, 9223372036854775807), (kind = 'paid'), lot
          limit asked.rows + 1) as l
