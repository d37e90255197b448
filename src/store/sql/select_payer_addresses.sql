-- The payer's e-mail addresses beside a purchase's events and those of the purchases that became a part of it.
-- $1 text: purchase id
-- $2 bigint: at most so many
select distinct profile->>'email' as email
  from personal
 where aggregate_type = 'purchase'
   and aggregate_id = any(array[$1] || array(select e.payload->>'payment_id'
                                               from events e
                                              where e.aggregate_type = 'purchase' and e.aggregate_id = $1
                                                and e.event_type = 'PaymentAbsorbed'))
   and profile->>'email' is not null
 order by email
 limit $2
