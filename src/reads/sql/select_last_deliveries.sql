-- When the newest delivery of each source was received: the end of inbox_outcome for each of its outcomes.
-- $1 text[]: sources
-- $2 text[]: outcomes
select asked.source, max(newest.received_at) as received_at
  from unnest($1::text[]) as asked(source)
 cross join unnest($2::text[]) as became(outcome)
 cross join lateral (
       select i.received_at
         from inbox i
        where i.outcome = became.outcome and i.source = asked.source
        order by i.received_at desc
        limit 1) as newest
 group by asked.source
