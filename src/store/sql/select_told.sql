-- The deliveries behind a stream's events, page by page.
-- $1 text: aggregate type, $2 text: aggregate id
-- $3 bigint: only events after this sequence
-- $4 bigint: at most so many events
select sequence, source, metadata->>'inbox' as key
  from events
 where aggregate_type = $1 and aggregate_id = $2 and sequence > $3
 order by sequence
 limit $4
