-- Payments in the log, payments in the view.
select (select count(*) from events where event_type = 'PaymentCaptured') as recorded,
       (select coalesce(sum((payload->>'balance')::bigint), 0)::bigint / 500 from balance_view) as in_balances
