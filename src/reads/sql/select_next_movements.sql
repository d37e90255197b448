-- The events of a user behind one of them.
-- $1 text: user id
-- $2 bigint: its sequence
-- $3 bigint: at most so many
select sequence, payload::text as payload
  from events
 where aggregate_id = $1 and aggregate_type = 'user' and sequence > $2
 order by sequence
 limit $3
