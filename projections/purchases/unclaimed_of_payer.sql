-- Purchases that are nobody's, buy something and were paid with an e-mail address, in the order of their ids. One that
-- became a part of another is as unclaimed as that one, and buys what that one does.
-- $1 text: e-mail address, in any case
-- $2 text: only those after this purchase id
-- $3 bigint: at most so many
select p.purchase_id
  from purchases p
  left join purchases whole on whole.purchase_id = p.part_of
 where lower(p.payer_email) = lower(btrim($1)) and p.payer_email is not null and p.purchase_id > $2
   and p.captured and p.user_id is null and whole.user_id is null and coalesce(p.sku, whole.sku) is not null
 order by p.purchase_id
 limit $3
