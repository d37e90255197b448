-- An event of a user's stream by its place in the log.
-- $1 smallint: shard
-- $2 bigint: position
select aggregate_id, payload::text as payload
  from events
 where shard = $1 and position = $2 and aggregate_type = 'user'
