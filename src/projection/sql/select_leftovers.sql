-- The tables in the making, as a list for `drop table`; null: there are none.
select string_agg(format('rebuild.%I', tablename), ', ' order by tablename) as tables
  from pg_tables
 where schemaname = 'rebuild'
