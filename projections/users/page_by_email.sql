-- Users who have an e-mail address, whatever its case, with their accounts after the last event, the newest registration first.
-- $1 timestamptz, $2 text: only those before this time of registration and user id
-- $3 bigint: at most so many
-- $4 text: e-mail address, in any case
select u.user_id, coalesce(u.registered_at, timestamptz 'epoch') as listed_at,
       u.registered, u.deleted, u.erased, u.plan, u.email, u.first_name, u.last_name,
       coalesce(b.balance, 0) as balance,
       coalesce(b.held, 0) as held,
       coalesce(b.debt, 0) as debt,
       coalesce(b.version, 0) as version,
       s.due_at_s,
       true as known
  from users u
  left join balance b on b.user_id = u.user_id
  left join streams s on s.aggregate_id = u.user_id and s.aggregate_type = 'user'
 where lower(u.email) = lower(btrim($4)) and u.email is not null
   and (coalesce(u.registered_at, timestamptz 'epoch'), u.user_id) < ($1, $2)
 order by coalesce(u.registered_at, timestamptz 'epoch') desc, u.user_id desc
 limit $3
