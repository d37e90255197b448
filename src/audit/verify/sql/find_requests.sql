-- Events of a request whose answer is not kept.
-- Gives `missing` (there is no such row), shard, position, stream, what.
select true as missing, e.shard, e.position, e.aggregate_type || '/' || e.aggregate_id as stream,
       'requests: the answer to the request that caused it is not there' as what
  from events e
  left join requests r
    on r.principal = e.metadata->>'principal' and r.idempotency_key = e.metadata->>'request'
 where e.metadata->>'request' is not null and r.principal is null
 order by e.shard, e.position
