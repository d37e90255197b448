-- The providers' ids of a user's subscriptions.
-- $1 text: user id
select subscription_id
  from streams s
 cross join json_object_keys(s.state->'subscriptions') as subscription_id
 where s.aggregate_type = 'user' and s.aggregate_id = $1
