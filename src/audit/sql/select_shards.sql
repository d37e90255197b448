-- Every shard that has events, whatever the heads say: one step along the index for each.
with recursive known as (
  (select shard from events order by shard limit 1)
  union all
  select (select e.shard from events e where e.shard > known.shard order by e.shard limit 1) from known
   where known.shard is not null)
select shard from known where shard is not null order by shard
