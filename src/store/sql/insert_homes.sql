-- The homes of purchases recorded for the first time. Fails with homes_pkey when another shard took one just now.
-- $1 text[] purchase ids, $2 smallint[] shards
-- Locks: the new keys, in their order.
insert into homes (purchase_id, shard)
select purchase_id, shard from unnest($1::text[], $2::smallint[]) as item(purchase_id, shard) order by purchase_id collate "C"
