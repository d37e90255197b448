-- Users who are shown with another address or name than their newest profile has. Never says which.
-- Gives `missing` (there is no such row), shard, position, stream, what.
select false as missing, null::smallint as shard, null::bigint as position, 'user/' || u.user_id as stream,
       'users: the address or the names are not those of the profile' as what
  from users u
  left join personal p
    on p.aggregate_type = 'user' and p.aggregate_id = u.user_id and p.sequence = u.profile_sequence
   and not u.deleted
 where (u.email, u.email_verified, u.first_name, u.last_name) is distinct from
       (p.profile->>'email', coalesce((p.profile->>'email_verified')::boolean, false), p.profile->>'first_name',
        p.profile->>'last_name')
 order by stream
