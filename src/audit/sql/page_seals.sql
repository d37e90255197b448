-- Seals by number.
-- $1 bigint: only those behind this one
-- $2 bigint: at most so many
select seal, sealed_at, events, root, shards, positions, hashes, head, nodes, key_id, signature
  from seals
 where seal > $1
 order by seal
 limit $2
