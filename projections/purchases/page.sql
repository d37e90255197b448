-- A user's purchases, newest first.
-- $1 text: user id
-- $2 timestamptz, $3 text: only those before this time and purchase id
-- $4 bigint: at most so many
select purchase_id, user_id, status, amount_minor, currency, order_id, sku, credits, refunded_minor, paid_at,
       recorded_at
  from purchases
 where user_id = $1 and captured and part_of is null and (recorded_at, purchase_id) < ($2, $3)
 order by recorded_at desc, purchase_id desc
 limit $4
