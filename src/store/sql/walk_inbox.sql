-- Stored deliveries in the order of their keys, with those bodies that are still there.
-- $1 text: key, $2 text: source: only those after it
-- $3 bigint: at most so many
select key, source, case when erased_at is null then body end as body
  from inbox
 where (key, source) > ($1, $2)
 order by key, source
 limit $3
