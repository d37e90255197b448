-- The e-mail addresses beside a user's events, but those that another user has or had, too, and did not ask to have erased.
-- $1 text: user id
-- $2 bigint: at most so many
select distinct own.profile->>'email' as email
  from personal own
 where own.aggregate_type = 'user' and own.aggregate_id = $1 and own.profile->>'email' is not null
   and not exists (select
                     from personal other
                     left join streams s on s.aggregate_type = 'user' and s.aggregate_id = other.aggregate_id
                    where lower(other.profile->>'email') = lower(own.profile->>'email')
                      and other.profile->>'email' is not null
                      and other.aggregate_type = 'user' and other.aggregate_id <> $1
                      and not coalesce((s.state->>'erasure_requested')::boolean, false))
 order by email
 limit $2
