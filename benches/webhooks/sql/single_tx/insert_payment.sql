-- $1 purchase, $2 user, $3 amount, $4 currency, $5 order, $6 credits, $7 paid at, $8 time of receipt
insert into payment_events (purchase_id, user_id, amount_minor, currency, order_id, credits, paid_at_s, recorded_at)
values ($1, $2, $3, $4, $5, $6, $7, $8)
on conflict do nothing
