-- Holds and spends that were settled. Who holds the lock of their shard saw that they were not.
-- $1 smallint[] shards, $2 bigint[] positions, $3 text[] settlements
insert into settlements (shard, position, settlement)
select shard, position, settlement
  from unnest($1::smallint[], $2::bigint[], $3::text[]) as item(shard, position, settlement)
