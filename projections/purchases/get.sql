-- One purchase.
-- $1 text: purchase id
select purchase_id, user_id, status, amount_minor, currency, order_id, sku, credits, paid_at, recorded_at
  from purchases
 where purchase_id = $1
