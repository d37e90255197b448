-- Bodies that are to be erased. The body of a delivery that waits stays until it waits no more.
-- $1 text[], $2 text[]: sources and keys, pairwise
-- $3 timestamptz: now
-- Locks: the rows, in the order of keys.
with asked as (
  select i.source, i.key
    from unnest($1::text[], $2::text[]) as asked(source, key)
    join inbox i on i.source = asked.source and i.key = asked.key
   where i.erased_at is null
   order by i.source, i.key
     for update of i)
update inbox i
   set erased_at = $3, body = case when i.outcome = 'parked' then i.body else '' end
  from asked
 where i.source = asked.source and i.key = asked.key
