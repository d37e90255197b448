-- Everything that is stored about purchases beside their events, as text.
-- $1 text: only this purchase; null: all
select coalesce(s.aggregate_id, p.purchase_id) as id,
       s.state::text as state,
       s.version::text as "stream version",
       'true' as "stream without holes",
       coalesce(p.user_id, '') as "user",
       coalesce(p.sku, '') as sku,
       coalesce(p.credits, 0)::text as credits
  from (select aggregate_id, version, state from streams where aggregate_type = 'purchase') as s
  full join purchases p on p.purchase_id = s.aggregate_id
 where $1::text is null or coalesce(s.aggregate_id, p.purchase_id) = $1
