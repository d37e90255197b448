-- Purchases whose home is not where their events are.
-- Gives `missing` (there is no such row), shard, position, stream, what.
select h.purchase_id is null as missing, coalesce(p.shard, h.shard) as shard, null::bigint as position,
       'purchase/' || coalesce(p.purchase_id, h.purchase_id) as stream,
       case when h.purchase_id is null then 'homes: nothing says that it lives in this shard'
            else 'homes: it is said to live in this shard, where it has no events' end as what
  from homes h
  full join (select distinct aggregate_id as purchase_id, shard from events where aggregate_type = 'purchase') as p
    on p.purchase_id = h.purchase_id and p.shard = h.shard
 where h.purchase_id is null or p.purchase_id is null
 order by stream, missing
