-- The e-mail addresses beside a user's events up to one of them: those that it told, and those that it may have given up.
-- Without those that were erased.
-- $1 text: aggregate type, $2 text: aggregate id, $3 bigint: sequence
select distinct profile->>'email' as email
  from personal
 where aggregate_type = $1 and aggregate_id = $2 and sequence <= $3 and profile->>'email' is not null
