-- The columns that a table in the making and the live table of its name both have, in the order of the new one.
-- $1 text: the table's name
-- same_key: whether both have the same primary key. Columns of unlike types, and those that have no equality (json), are
-- compared as text.
with both_tables (is_new, id) as (
  select true, to_regclass(format('rebuild.%I', $1::text))
  union all
  select false, to_regclass(format('public.%I', $1::text))
), all_columns as (
  select t.is_new, a.attname::text as name, a.atttypid, a.attnum, coalesce(a.attnum = any(k.conkey), false) as is_key
    from both_tables t
    join pg_attribute a on a.attrelid = t.id and a.attnum > 0 and not a.attisdropped
    left join pg_constraint k on k.conrelid = t.id and k.contype = 'p'
)
select n.name, quote_ident(n.name) as quoted, n.is_key,
       n.atttypid <> l.atttypid or n.atttypid = 'json'::regtype as as_text,
       (select coalesce(array_agg(name order by name) filter (where is_new), '{}')
             = coalesce(array_agg(name order by name) filter (where not is_new), '{}')
          from all_columns where is_key) as same_key
  from all_columns n
  join all_columns l on l.name = n.name and not l.is_new
 where n.is_new
 order by n.attnum
