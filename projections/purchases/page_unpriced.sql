-- Purchases that fit nothing in the catalog, newest first.
-- $1 timestamptz, $2 text: only those before this time and purchase id
-- $3 bigint: at most so many
select purchase_id, user_id, status, amount_minor, currency, order_id, sku, credits, refunded_minor, paid_at,
       recorded_at
  from purchases
 where sku is null and captured and part_of is null and (recorded_at, purchase_id) < ($1, $2)
 order by recorded_at desc, purchase_id desc
 limit $3
