-- The state of a user's stream.
-- $1 text: user id
select state::text as state from streams where aggregate_id = $1 and aggregate_type = 'user'
