-- A user and the account after the last event, and when it changes by itself. Known by either, or by a purchase, which may have given no credits.
-- $1 text: user id
select coalesce(u.registered, false) as registered,
       coalesce(u.deleted, false) as deleted,
       coalesce(u.erased, false) as erased,
       u.plan, u.email, u.first_name, u.last_name,
       coalesce(b.balance, 0) as balance,
       coalesce(b.held, 0) as held,
       coalesce(b.debt, 0) as debt,
       coalesce(b.version, 0) as version,
       s.due_at_s,
       u.user_id is not null or b.user_id is not null
         or exists (select from purchases p where p.user_id = asked.user_id) as known
  from (select $1::text as user_id) as asked
  left join users u on u.user_id = asked.user_id
  left join balance b on b.user_id = asked.user_id
  left join streams s on s.aggregate_id = asked.user_id and s.aggregate_type = 'user'
