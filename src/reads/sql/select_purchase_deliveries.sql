-- The stored deliveries that led to a purchase's events, and to those of the payments that became a part of it.
-- $1 text: purchase id
-- $2 bigint: at most so many
select source, metadata->>'inbox' as key, min(recorded_at) as recorded_at
  from events
 where aggregate_type = 'purchase' and metadata->>'inbox' is not null
   and aggregate_id = any(array[$1] || array(select absorbed.payload->>'payment_id'
                                               from events absorbed
                                              where absorbed.aggregate_type = 'purchase' and absorbed.aggregate_id = $1
                                                and absorbed.event_type = 'PaymentAbsorbed'))
 group by source, metadata->>'inbox'
 order by min(recorded_at), source, metadata->>'inbox'
 limit $2
