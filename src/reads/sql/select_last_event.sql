-- The last event of a user that was recorded until a time, found by halving: sequences are dense, times only grow.
-- $1 text: user id
-- $2 timestamptz: the time
-- sequence 0: none was
with recursive stream as (
  select aggregate_id, aggregate_type, shard, version
    from streams
   where aggregate_id = $1 and aggregate_type = 'user'
), search (low, high) as (
  select 0::bigint, version from stream
  union all
  select case when e.recorded_at <= $2 then middle else low end,
         case when e.recorded_at <= $2 then high else middle - 1 end
    from search
   cross join lateral (select (low + high + 1) / 2 as middle) as half
   cross join stream
    join events e on e.aggregate_id = stream.aggregate_id and e.aggregate_type = stream.aggregate_type
                 and e.sequence = middle and e.shard = stream.shard
   where low < high
)
select low as sequence from search where low = high
