-- Who is known, without personal data.
-- $1 text: only this user; null: all
select user_id, registered, deleted, erasure_requested, erased, bonus, plan, plan_sequence, profile_sequence,
       registered_at, deleted_at
  from users
 where $1::text is null or user_id = $1
 order by user_id
