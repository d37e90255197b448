-- Payments in the log, payments in the balances.
select (select count(*) from events where event_type = 'CreditsPurchased') as recorded,
       (select coalesce(sum(balance), 0)::bigint / 500 from balance) as in_balances
