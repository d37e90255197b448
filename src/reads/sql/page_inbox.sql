-- Deliveries with one outcome, newest first; never their bodies. Each source is read by itself, so that any page is a
-- walk along inbox_outcome.
-- $1 text[]: sources
-- $2 text: outcome
-- $3 timestamptz, $4 text, $5 text: only those before this time, key and source
-- $6 bigint: at most so many
select i.source, i.key, i.provider_event_id, i.outcome, i.reason, i.waits_for, i.received_at, i.attempts, i.deliveries,
       i.next_attempt_at
  from unnest($1::text[]) as asked(source)
 cross join lateral (
       select d.source, d.key, d.provider_event_id, d.outcome, d.reason, d.waits_for, d.received_at, d.attempts,
              d.deliveries, d.next_attempt_at
         from inbox d
        where d.outcome = $2 and d.source = asked.source and (d.received_at, d.key, d.source) < ($3, $4, $5)
        order by d.received_at desc, d.key desc, d.source desc
        limit $6) as i
 order by i.received_at desc, i.key desc, i.source desc
 limit $6
