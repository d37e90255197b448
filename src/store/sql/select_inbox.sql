-- Which deliveries are stored already.
-- $1 delivery_key[]
select i.source, i.key
  from unnest($1::pg_temp.delivery_key[]) as asked
  join inbox i on i.source = asked.source and i.key = asked.key
