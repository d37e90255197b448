-- The purchases whose payers are to be erased with a user, in the order of their ids: the user's own, other ids of the same
-- money, and those that were paid with one of the user's e-mail addresses, whosever they are; each with its user.
-- It reads the log and the personal data, too: only they know every id that a purchase took over, and the address of a
-- payer once somebody has the purchase.
-- $1 text: user id
-- $2 text[]: addresses, in any case
-- $3 text: only those after this purchase id
-- $4 bigint: at most so many
with own as (
  select purchase_id from purchases where user_id = $1
), found as (
  select purchase_id from own
  union
  select absorbed.payload->>'payment_id'
    from own
    join events absorbed on absorbed.aggregate_type = 'purchase' and absorbed.aggregate_id = own.purchase_id
                        and absorbed.event_type = 'PaymentAbsorbed'
  union
  select payer.aggregate_id
    from personal payer
   where payer.aggregate_type = 'purchase' and payer.profile->>'email' is not null
     and lower(payer.profile->>'email') = any(array(select lower(address) from unnest($2::text[]) as address)))
select p.purchase_id, p.order_id, p.subscription_id, coalesce(p.user_id, whole.user_id) as user_id
  from found
  join purchases p using (purchase_id)
  left join purchases whole on whole.purchase_id = p.part_of
 where p.purchase_id > $3
 order by p.purchase_id
 limit $4
