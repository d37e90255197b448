-- $1 users, each once, $2 credits
insert into balances as known (user_id, balance)
select user_id, credits from unnest($1::text[], $2::bigint[]) as t (user_id, credits)
on conflict (user_id) do update set balance = known.balance + excluded.balance
