-- One purchase, once it was captured; one that became a part of another is not.
-- $1 text: purchase id
select purchase_id, user_id, status, amount_minor, currency, order_id, sku, credits, refunded_minor, paid_at,
       recorded_at
  from purchases
 where purchase_id = $1 and captured and part_of is null
