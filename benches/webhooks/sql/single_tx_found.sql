-- Payments in the history, payments in the balances.
select (select count(*) from payment_events) as recorded,
       (select coalesce(sum(balance), 0)::bigint / 500 from balances) as in_balances
