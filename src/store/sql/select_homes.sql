-- Where purchases live.
-- $1 text[]: purchase ids
select purchase_id, shard from homes where purchase_id = any($1)
