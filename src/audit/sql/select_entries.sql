-- The statements that users read, by place in the log.
-- $1 text: only this user's; null: all
select user_id, sequence, shard, position, type, delta, balance, purchase_id, source, provider_event_id, recorded_at,
       slices::text as slices, about, reason, reference
  from entries
 where $1::text is null or user_id = $1
 order by shard, position
