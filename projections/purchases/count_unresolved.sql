-- How many purchases are nobody's and how many fit nothing in the catalog, each counted up to a number.
-- $1 bigint: where counting ends
select (select count(*)
          from (select from purchases where user_id is null and captured and part_of is null limit $1) as counted)
         as unclaimed,
       (select count(*)
          from (select from purchases where sku is null and captured and part_of is null limit $1) as counted)
         as unpriced
