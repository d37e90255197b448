-- Users who are there and never got the bonus of a sign-up, in the order of their ids. Who is known by a plan alone never
-- signed up, as far as anybody said.
-- $1 text: only those after this user id
-- $2 bigint: at most so many
select user_id
  from users
 where not bonus and not deleted and user_id > $1
   and (registered or profile_sequence > 0)
 order by user_id
 limit $2
