-- A seal. Two that have one number can not both be: the constraint `seals_pkey`.
-- $1 bigint, $2 timestamptz, $3 bigint, $4 bytea: number, time, number of events, root of the tree over them
-- $5 smallint[], $6 bigint[], $7 bytea[]: where every shard ends
-- $8 bytea: root of the tree of seals with this one
-- $9 bytea[]: the perfect subtrees of that tree that this seal completes, by height
-- $10 text, $11 bytea: who signed, and how
insert into seals (seal, sealed_at, events, root, shards, positions, hashes, head, nodes, key_id, signature)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
