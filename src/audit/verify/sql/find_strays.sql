-- Events in shards that the ledger does not have: one of each.
-- Gives `missing` (there is no such row), shard, position, stream, what.
with recursive known as (
  (select shard from events order by shard limit 1)
  union all
  select (select e.shard from events e where e.shard > known.shard order by e.shard limit 1) from known
   where known.shard is not null)
select false as missing, shard, null::bigint as position, null::text as stream,
       'events: there are some in a shard that the ledger does not have' as what
  from known
 where shard not in (select generate_series(0, shards - 1) from ledger)
 order by shard
