-- Seals, the newest first, with all that is signed and who signed.
-- $1 bigint: only those before this one
-- $2 bigint: at most so many
select seal, sealed_at, events, root, shards, positions, hashes, head, key_id, signature
  from seals
 where seal < $1
 order by seal desc
 limit $2
