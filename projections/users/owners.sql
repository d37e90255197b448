-- Who is there and has proven to own an e-mail address, each with the version of the profile that says so: read together,
-- so the address is that profile's.
-- $1 text: e-mail address, in any case
-- $2 bigint: at most so many
select u.user_id, (s.state->'profile')::text as profile
  from users u
  join streams s on s.aggregate_type = 'user' and s.aggregate_id = u.user_id
 where lower(u.email) = lower(btrim($1)) and u.email is not null and u.email_verified and not u.deleted
 order by u.user_id
 limit $2
