-- Everything that is stored about users beside their events, as text. A read model without a row says what it says to
-- readers: not registered, no credits. What entries and users hold of the log's own columns is compared with the log
-- here, because postgres-es does not hand those columns out.
-- $1 text[]: only these users; null: all. Planned anew for each value, so that either way takes its best plan.
select coalesce(s.aggregate_id, u.user_id, b.user_id, e.user_id) as id,
       s.state::text as state,
       r.lots,
       coalesce(h.number, 0)::text as "open holds",
       coalesce(h.credits, 0)::text as "credits in open holds",
       coalesce(h.settled, 0)::text as "settlements",
       s.version::text as "stream version",
       'true' as "stream without holes",
       coalesce(u.registered, false)::text as registered,
       coalesce(u.deleted, false)::text as deleted,
       coalesce(u.erasure_requested, false)::text as "erasure requested",
       coalesce(u.erased, false)::text as erased,
       coalesce(u.bonus, false)::text as "signup bonus",
       u.plan,
       coalesce(u.plan_sequence, 0)::text as "sequence of the plan",
       coalesce(u.profile_sequence, 0)::text as "sequence of the profile",
       case when u.registered_at is null then 'nothing' when u.registered_at = u.logged_at then 'as logged'
            else u.registered_at::text end as "time of registration",
       case when u.deleted_at is null then 'nothing' when u.deleted_at = u.deletion_logged_at then 'as logged'
            else u.deleted_at::text end as "time of deletion",
       coalesce(b.balance, 0)::text as balance,
       coalesce(b.held, 0)::text as held,
       coalesce(b.debt, 0)::text as debt,
       coalesce(b.version, 0)::text as "version of the balance",
       coalesce(e.movements, 0)::text as "sum of entries",
       coalesce(e.number, 0)::text as "number of entries",
       coalesce(e.as_logged, 0)::text as "entries as logged",
       coalesce(e.digest, encode(sha256(''), 'hex')) as "digest of entries"
  from (select aggregate_id, version, state
          from streams
         where aggregate_type = 'user' and ($1::text[] is null or aggregate_id = any($1))) as s
  full join (select users.*,
                    logged.*
               from users
              cross join lateral (select min(recorded_at) filter (where event_type = 'UserRegistered') as logged_at,
                                         min(recorded_at) filter (where event_type = 'UserDeleted') as deletion_logged_at
                                    from events
                                   where aggregate_type = 'user' and aggregate_id = user_id
                                     and event_type in ('UserRegistered', 'UserDeleted')) as logged
              where $1::text[] is null or user_id = any($1)) as u
         on u.user_id = s.aggregate_id
  full join (select * from balance where $1::text[] is null or user_id = any($1)) as b
         on b.user_id = coalesce(s.aggregate_id, u.user_id)
  full join (select entry.user_id,
                    sum(entry.delta)::bigint as movements,
                    count(*) as number,
                    count(*) filter (where logged.position = entry.position
                                       and logged.source = entry.source
                                       and logged.provider_event_id is not distinct from entry.provider_event_id
                                       and logged.recorded_at = entry.recorded_at
                                       and (entry.slices, entry.about, entry.reason, entry.reference)
                                           is not distinct from
                                           (case when told then coalesce(logged.payload->'slices',
                                                                         logged.payload->'returned')::jsonb end,
                                            case when told then coalesce(logged.payload->>'entry_id',
                                                                         logged.payload->>'hold_id') end,
                                            case when told then logged.payload->>'reason' end,
                                            case when told then logged.payload->>'reference' end)) as as_logged,
                    encode(sha256(convert_to(string_agg(
                      concat_ws(':', entry.sequence, entry.type, entry.delta, entry.balance,
                                coalesce(entry.purchase_id, '')),
                      E'\n' order by entry.sequence), 'UTF8')), 'hex') as digest
               from entries as entry
               left join events as logged
                 on logged.aggregate_type = 'user' and logged.aggregate_id = entry.user_id
                and logged.sequence = entry.sequence and logged.shard = entry.shard
              cross join lateral (select entry.type not in ('CreditsPurchased', 'SignupBonusGranted') as told) as more
              where $1::text[] is null or entry.user_id = any($1)
              group by entry.user_id) as e
         on e.user_id = coalesce(s.aggregate_id, u.user_id, b.user_id)
  left join (select user_id,
                    json_agg(json_build_object('id', lot, 'kind', kind, 'priority', priority, 'expires_at_s',
                      expires_at_s, 'purchase_id', purchase_id, 'amount', amount, 'remaining', remaining, 'contested',
                      contested, 'expired', expired, 'counted', counted))::text as lots
               from lots
              where $1::text[] is null or user_id = any($1)
              group by user_id) as r
         on r.user_id = s.aggregate_id
  left join (select placed.aggregate_id as user_id,
                    count(holds) as number,
                    sum((placed.payload->>'credits')::bigint) filter (where holds is not null) as credits,
                    count(settlements) as settled
               from events as placed
               left join holds on holds.shard = placed.shard and holds.position = placed.position
               left join settlements on settlements.shard = placed.shard and settlements.position = placed.position
              where placed.event_type in ('CreditsHeld', 'CreditsSpent', 'HoldCaptured')
                and placed.aggregate_type = 'user' and ($1::text[] is null or placed.aggregate_id = any($1))
              group by placed.aggregate_id) as h
         on h.user_id = s.aggregate_id
