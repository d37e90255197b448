-- Who paid first for the subscription that a purchase pays a period of.
-- $1 text: purchase id
select s.user_id
  from purchases p
  join purchases s on s.subscription_id = p.subscription_id and s.user_id is not null
                  and split_part(s.purchase_id, ':', 1) = split_part(p.purchase_id, ':', 1)
 where p.purchase_id = $1
 order by s.recorded_at, s.purchase_id
 limit 1
