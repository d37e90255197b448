-- Deliveries in the table, deliveries in the balances.
select (select count(*) from webhooks) as recorded,
       (select coalesce(sum(balance), 0)::bigint / 500 from balances) as in_balances
