-- The homes of purchases recorded for the first time. Fails with homes_pkey when another shard took one just now.
-- $1 home_row[]
-- Locks: the new keys, in their order.
insert into homes (purchase_id, shard)
select purchase_id, shard from unnest($1::pg_temp.home_row[]) order by purchase_id
