-- A purchase and the other ids of the same money, in the order of their ids, each with its user. The log knows every id that
-- it took over.
-- $1 text: purchase id
-- $2 text: only those after this purchase id
-- $3 bigint: at most so many
with found as (
  select $1::text as purchase_id
  union
  select absorbed.payload->>'payment_id'
    from events absorbed
   where absorbed.aggregate_type = 'purchase' and absorbed.aggregate_id = $1
     and absorbed.event_type = 'PaymentAbsorbed')
select p.purchase_id, p.order_id, p.subscription_id, coalesce(p.user_id, whole.user_id) as user_id
  from found
  join purchases p using (purchase_id)
  left join purchases whole on whole.purchase_id = p.part_of
 where p.purchase_id > $2
 order by p.purchase_id
 limit $3
