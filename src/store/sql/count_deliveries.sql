-- Counts deliveries that were stored already.
-- $1 seen_row[]: keys, and how many more came
-- Locks: the rows, in the order of keys.
with seen as (
  select i.source, i.key, asked.more
    from unnest($1::pg_temp.seen_row[]) as asked
    join inbox i on i.source = asked.source and i.key = asked.key
   order by i.source, i.key
     for update of i)
update inbox i set deliveries = i.deliveries + seen.more
  from seen
 where i.source = seen.source and i.key = seen.key
