-- The last seal (0: there is none), how many events are in no seal, and when the oldest of them was recorded.
with last as (
  select seal, shards, positions from seals order by seal desc limit 1
), sealed as (
  select ends.shard, ends.position
    from last
    cross join lateral unnest(last.shards, last.positions) as ends(shard, position)
)
select coalesce((select seal from last), 0) as seal,
       coalesce(sum(greatest(heads.position - coalesce(sealed.position, 0), 0)), 0)::bigint as unsealed,
       min(next.recorded_at) as oldest
  from heads
  left join sealed on sealed.shard = heads.shard
  left join events as next on next.shard = heads.shard and next.position = coalesce(sealed.position, 0) + 1
