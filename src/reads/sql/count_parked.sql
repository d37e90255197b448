-- How many deliveries are parked, counted up to a number, and since when the oldest of them waits.
-- $1 text[]: sources
-- $2 bigint: where counting ends
select (select count(*) from (select from inbox i where i.outcome = 'parked' limit $2) as counted) as parked,
       (select min(oldest.received_at)
          from unnest($1::text[]) as asked(source)
         cross join lateral (
               select i.received_at
                 from inbox i
                where i.outcome = 'parked' and i.source = asked.source
                order by i.received_at
                limit 1) as oldest) as oldest_received_at
