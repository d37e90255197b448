-- The entries of a user that lots came with.
-- $1 text: user id
-- $2 bigint[]: their places in the stream
select sequence, shard, position, source, provider_event_id, recorded_at
  from entries
 where user_id = $1 and sequence = any($2)
