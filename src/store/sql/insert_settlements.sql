-- Holds and spends that were settled. Who holds the lock of their shard saw that they were not.
-- $1 settlement_row[]
insert into settlements (shard, position, settlement)
select shard, position, settlement
  from unnest($1::pg_temp.settlement_row[])
