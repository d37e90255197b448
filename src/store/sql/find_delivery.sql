-- The key of a stored delivery by the id that its provider gave the event, or by the key itself. An id that is not signed
-- may stand for several: the one that waits comes first, then the oldest.
-- $1 text: source, $2 text: event id or key
select key
  from (select key, outcome, received_at from inbox where source = $1 and key = $2
        union all
        select key, outcome, received_at from inbox
         where source = $1 and provider_event_id = $2 and provider_event_id <> key) as found
 order by outcome = 'parked' desc, received_at, key
 limit 1
