-- Payments, without personal data.
-- $1 text[]: only these; null: all
select purchase_id, user_id, captured, amount_minor, currency, order_id, sku, credits, subscription_id, payer_erased,
       refunded_minor, disputed_minor, lost_minor, standing_sequence, part_of, status, paid_at, recorded_at
  from purchases
 where $1::text[] is null or purchase_id = any($1)
 order by purchase_id
