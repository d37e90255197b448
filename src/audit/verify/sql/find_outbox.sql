-- Work that no event calls for.
-- Gives `missing` (there is no such row), shard, position, stream, what.
select false as missing, null::smallint as shard, null::bigint as position,
       o.aggregate_type || '/' || o.aggregate_id as stream,
       'outbox: row ' || o.id || ' points to event ' || o.sequence || ', which is not there' as what
  from outbox o
 where not exists (select
                     from events e
                    where e.aggregate_type = o.aggregate_type and e.aggregate_id = o.aggregate_id
                      and e.sequence = o.sequence)
 order by o.id
