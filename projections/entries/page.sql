-- A user's movements, newest first.
-- $1 text: user id
-- $2 bigint: only those before this sequence
-- $3 bigint: at most so many
select sequence, shard, position, type, delta, balance, purchase_id, source, provider_event_id, recorded_at,
       slices::text as slices, about, reason, reference
  from entries
 where user_id = $1 and sequence < $2
 order by sequence desc
 limit $3
