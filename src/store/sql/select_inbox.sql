-- Which deliveries are stored already.
-- $1 text[], $2 text[]: sources and keys, pairwise
select i.source, i.key
  from unnest($1::text[], $2::text[]) as asked(source, key)
  join inbox i on i.source = asked.source and i.key = asked.key
