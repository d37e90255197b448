-- The hashes of a shard's events, by position: a walk along `events_position_key`. What was just written is not yet known to
-- be visible to all, so the rows are looked at in any case, and an index that held the hashes too would only cost writers.
-- $1 smallint: shard
-- $2 bigint: only those behind this position
-- $3 bigint: and up to this one
select position, hash
  from events
 where shard = $1 and position > $2 and position <= $3
 order by position
