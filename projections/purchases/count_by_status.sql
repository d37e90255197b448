-- How many purchases have each status. Exact while the table has at most so many pages; above, a sample of about so
-- many, scaled up: then a status that few purchases have may be absent.
-- $1 double precision: pages
select status, round(count(*) * size.times)::bigint as purchases, size.times > 1 as estimated
  from (select greatest(1, pg_relation_size('purchases') / (current_setting('block_size')::integer * $1::double precision))) as size(times)
 cross join purchases tablesample system
       ((100 / greatest(1, pg_relation_size('purchases') / (current_setting('block_size')::integer * $1::double precision)))::real)
 group by status, size.times
 order by status
