-- Everything that makes up schema public, one line each, in an order of its own. Read models and the migrations' own
-- table are left out.
with public_tables as (
  select c.oid, c.relname, c.reloptions
    from pg_class c
   where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p')
     and c.relname <> 'refinery_schema_history' and c.relname <> all($1::text[]))
select line from (
  select format('table %s with %s', relname, coalesce(array_to_string(reloptions, ', '), 'nothing')) as line
    from public_tables
  union all
  select format('column %s.%s %s %s%s %s', t.relname, a.attname, a.attnum, format_type(a.atttypid, a.atttypmod),
                case when a.attnotnull then ' not null' else '' end, coalesce(pg_get_expr(d.adbin, d.adrelid), ''))
    from public_tables t
    join pg_attribute a on a.attrelid = t.oid and a.attnum > 0 and not a.attisdropped
    left join pg_attrdef d on d.adrelid = t.oid and d.adnum = a.attnum
  union all
  select format('constraint %s.%s %s', t.relname, c.conname, pg_get_constraintdef(c.oid))
    from public_tables t join pg_constraint c on c.conrelid = t.oid
  union all
  select format('index %s', pg_get_indexdef(i.indexrelid))
    from public_tables t join pg_index i on i.indrelid = t.oid
  union all
  select format('trigger %s enabled %s', pg_get_triggerdef(g.oid), g.tgenabled)
    from public_tables t join pg_trigger g on g.tgrelid = t.oid and not g.tgisinternal
  union all
  select format('function %s', pg_get_functiondef(p.oid))
    from pg_proc p where p.pronamespace = 'public'::regnamespace) as lines
order by line
