-- The new ends of shards.
-- $1 smallint[] shards, $2 bigint[] positions, $3 bytea[] hashes, $4 timestamptz[] times
-- Locks: none that lock_heads.sql did not take.
update heads h
   set position = ended.position, hash = ended.hash, recorded_at = ended.recorded_at
  from unnest($1::smallint[], $2::bigint[], $3::bytea[], $4::timestamptz[])
       as ended(shard, position, hash, recorded_at)
 where h.shard = ended.shard
