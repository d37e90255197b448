-- Bonuses in the log, bonuses in the balances.
select (select count(*) from events where event_type = 'SignupBonusGranted') as recorded,
       (select coalesce(sum(balance), 0)::bigint / 20 from balance) as in_balances
