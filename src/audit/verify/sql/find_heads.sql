-- Shards that have no head, and heads of no shard or with another time than the last event.
-- Gives `missing` (there is no such row), shard, position, stream, what.
select h.shard is null as missing, coalesce(h.shard, s.shard)::smallint as shard, h.position, null::text as stream,
       case when h.shard is null then 'heads: nothing says where the shard ends'
            when s.shard is null then 'heads: there is no such shard'
            else 'heads: its time is not the one of its last event' end as what
  from heads h
  full join (select generate_series(0, shards - 1) as shard from ledger) as s on s.shard = h.shard
  left join events e on e.shard = h.shard and e.position = h.position
 where h.shard is null or s.shard is null or (e.shard is not null and e.recorded_at <> h.recorded_at)
 order by 2
