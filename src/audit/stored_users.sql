-- Everything that is stored about users beside their events, as text. A read model without a row says what it says to
-- readers: not registered, no credits.
-- $1 text: only this user; null: all
select coalesce(s.aggregate_id, u.user_id, b.user_id, e.user_id) as id,
       s.state::text as state,
       s.version::text as "stream version",
       'true' as "stream without holes",
       coalesce(u.registered, false)::text as registered,
       coalesce(u.deleted, false)::text as deleted,
       coalesce(u.plan, '') as plan,
       coalesce(b.balance, 0)::text as balance,
       coalesce(b.held, 0)::text as held,
       coalesce(b.debt, 0)::text as debt,
       coalesce(e.movements, 0)::text as "sum of entries"
  from (select aggregate_id, version, state from streams where aggregate_type = 'user') as s
  full join users u on u.user_id = s.aggregate_id
  full join balance b on b.user_id = coalesce(s.aggregate_id, u.user_id)
  full join (select user_id, sum(delta)::bigint as movements from entries group by user_id) as e
         on e.user_id = coalesce(s.aggregate_id, u.user_id, b.user_id)
 where $1::text is null or coalesce(s.aggregate_id, u.user_id, b.user_id, e.user_id) = $1
