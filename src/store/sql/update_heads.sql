-- The new ends of shards.
-- $1 head_row[]
-- Locks: none that lock_heads.sql did not take.
update heads h
   set position = ended.position, hash = ended.hash, recorded_at = ended.recorded_at
  from unnest($1::pg_temp.head_row[]) as ended
 where h.shard = ended.shard
