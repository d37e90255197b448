-- Spends that are recorded, credits that are gone from the balances. Each spend is of 1 credit.
select (select count(*) from spends) as recorded,
       (select count(*) from accounts) * 1000000000 - (select coalesce(sum(balance), 0)::bigint from accounts) as in_balances
