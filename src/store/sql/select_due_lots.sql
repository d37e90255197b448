-- The lots behind the front that end until a time, and the next one, which tells when to look again.
-- $1 text[] users, $2 bigint[] times, seconds since 1970: pairwise
select asked.user_id, l.lot, l.kind, l.priority, l.expires_at_s, l.purchase_id, l.amount, l.remaining, l.contested, l.expired, l.counted
  from unnest($1::text[], $2::bigint[]) as asked(user_id, until_s)
 cross join lateral (
         (select lot, kind, priority, expires_at_s, purchase_id, amount, remaining, contested, expired, counted
            from lots
           where lots.user_id = asked.user_id and remaining > contested and expires_at_s <= asked.until_s)
          union all
         (select lot, kind, priority, expires_at_s, purchase_id, amount, remaining, contested, expired, counted
            from lots
           where lots.user_id = asked.user_id and remaining > contested and expires_at_s > asked.until_s
           order by expires_at_s
           limit 1)) as l
