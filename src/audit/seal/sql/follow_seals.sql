-- Seals, the oldest first, with all that is signed and who signed.
-- $1 bigint: from this one on
-- $2 bigint: at most so many
select seal, sealed_at, events, root, shards, positions, hashes, head, key_id, signature
  from seals
 where seal >= $1
 order by seal
 limit $2
