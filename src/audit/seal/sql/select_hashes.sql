-- The hashes of a shard's events, by position, found by `events_position_key`. An index that held the hashes, too, would cost
-- writers and save nothing here: of what was just written it is not yet known that all may see it, so its rows are read.
-- $1 smallint: shard
-- $2 bigint: only those behind this position
-- $3 bigint: and up to this one
select position, hash
  from events
 where shard = $1 and position > $2 and position <= $3
 order by position
