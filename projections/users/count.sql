-- How many users there are. Exact while the table has at most so many pages; above, a sample of about so many, scaled up.
-- $1 double precision: pages
select round(count(*) filter (where registered) * size.times)::bigint as registered,
       round(count(*) filter (where deleted) * size.times)::bigint as deleted,
       size.times > 1 as estimated
  from (select greatest(1, pg_relation_size('users') / (current_setting('block_size')::integer * $1::double precision))) as size(times)
  left join users tablesample system
       ((100 / greatest(1, pg_relation_size('users') / (current_setting('block_size')::integer * $1::double precision)))::real) on true
 group by size.times
