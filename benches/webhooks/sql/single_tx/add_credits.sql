-- $1 user, $2 credits
insert into balances as known (user_id, balance) values ($1, $2)
on conflict (user_id) do update set balance = known.balance + excluded.balance
