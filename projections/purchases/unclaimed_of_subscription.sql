-- Purchases that are nobody's and pay a period of a subscription, in the order of their ids.
-- $1 text: subscription id
-- $2 text: the provider, as purchase ids begin
-- $3 text: only those after this purchase id
-- $4 bigint: at most so many
select purchase_id
  from purchases
 where subscription_id = $1 and split_part(purchase_id, ':', 1) = $2 and purchase_id > $3
   and captured and user_id is null and part_of is null
 order by purchase_id
 limit $4
