-- $1 idempotency key, $2 user, $3 credits, $4 reason, $5 balance after it
insert into spends (idempotency_key, user_id, amount, reason, balance, recorded_at) values ($1, $2, $3, $4, $5, now())
