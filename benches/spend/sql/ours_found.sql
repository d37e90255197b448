-- Spends in the history, credits that are gone from the balances. Each spend is of 1 credit.
select (select count(*) from events where event_type = 'CreditsSpent') as recorded,
       (select coalesce(sum((payload->>'credits')::bigint), 0)::bigint from events where event_type = 'CreditsGranted')
         - (select coalesce(sum(balance), 0)::bigint from balance) as in_balances
