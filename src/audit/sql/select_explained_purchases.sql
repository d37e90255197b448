-- The purchases of which a later event said what they buy, or that they are a part of another. No parameters.
select distinct aggregate_id as purchase_id
  from events
 where aggregate_type = 'purchase' and event_type in ('PurchasePriced', 'PaymentMerged')
