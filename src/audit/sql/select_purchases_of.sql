-- The purchases that a user's history is about: those that its events name, and those that are the user's.
-- $1 text: user
select e.payload->>'purchase_id' as purchase_id
  from events e
 where e.aggregate_type = 'user' and e.aggregate_id = $1 and e.payload->>'purchase_id' is not null
 union
select purchase_id from purchases where user_id = $1
 order by purchase_id
