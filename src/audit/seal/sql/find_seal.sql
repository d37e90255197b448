-- The seal that an event is in: the first in which its shard ends at its position or behind. Each looks at one seal in the
-- middle of what is left, about 23 for a year of seals every 5 seconds. No row: it is in none.
-- $1 smallint, $2 bigint: shard and position
with recursive search(low, high) as (
  -- Always: the shard ends before the position in `low`, and not before it in `high`.
  select 0::bigint, last.seal
    from (select seal, shards, positions from seals order by seal desc limit 1) as last
   where last.positions[array_position(last.shards, $1::smallint)] >= $2::bigint
  union all
  select case when middle.holds then search.low else middle.seal end,
         case when middle.holds then middle.seal else search.high end
    from search
    cross join lateral (
      select seals.seal,
             coalesce(seals.positions[array_position(seals.shards, $1::smallint)] >= $2::bigint, false) as holds
        from seals
       where seals.seal = (search.low + search.high) / 2
       limit 1
    ) as middle
   where search.high - search.low > 1
)
select high as seal from search where high - low = 1
