-- Who paid for a subscription first.
-- $1 text: subscription id
-- $2 text: the provider, as purchase ids begin
select user_id
  from purchases
 where subscription_id = $1 and user_id is not null and split_part(purchase_id, ':', 1) = $2
 order by recorded_at, purchase_id
 limit 1
