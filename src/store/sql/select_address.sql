-- The e-mail address beside an event, and whether it is proven to be the person's; no row when it was erased.
-- $1 text: aggregate type, $2 text: aggregate id, $3 bigint: sequence
select profile->>'email' as email
  from personal
 where aggregate_type = $1 and aggregate_id = $2 and sequence = $3 and profile->>'email' is not null
