-- Lots behind the front by what they are called, as far as they are there.
-- $1 text[] users, $2 bigint[] lots: pairwise. $3 text[] users, $4 text[] purchases: pairwise
select asked.user_id, l.lot, l.kind, l.priority, l.expires_at_s, l.purchase_id, l.amount, l.remaining, l.contested, l.expired, l.counted
  from unnest($1::text[], $2::bigint[]) as asked(user_id, lot)
  join lots l on l.user_id = asked.user_id and l.lot = asked.lot
 union
select asked.user_id, l.lot, l.kind, l.priority, l.expires_at_s, l.purchase_id, l.amount, l.remaining, l.contested, l.expired, l.counted
  from unnest($3::text[], $4::text[]) as asked(user_id, purchase_id)
  join lots l on l.user_id = asked.user_id and l.purchase_id = asked.purchase_id
