-- A purchase is captured by its first event; whom it is for and what it buys may come later, each once.
-- handles: PaymentCaptured, PurchaseClaimed, PurchasePriced
-- ignores: UserRegistered, SignupBonusGranted, UserProfileChanged, UserDeleted, CreditsPurchased
insert into purchases as known (purchase_id, user_id, status, amount_minor, currency, order_id, sku, credits,
                                paid_at, recorded_at)
select aggregate_id,
       max(payload->>'user_id'),
       'captured',
       coalesce(max((payload->>'amount_minor')::bigint), 0),
       coalesce(max(payload->>'currency'), ''),
       max(payload->>'order_id'),
       max(payload->'price'->>'sku'),
       coalesce(max((payload->'price'->>'credits')::bigint), 0),
       coalesce(to_timestamp(max((payload->>'paid_at_s')::bigint)), timestamptz '1970-01-01 00:00:00+00'),
       min(recorded_at)
  from batch
 group by aggregate_id
 order by aggregate_id
    on conflict (purchase_id) do update
   set user_id = coalesce(known.user_id, excluded.user_id),
       sku = coalesce(known.sku, excluded.sku),
       credits = greatest(known.credits, excluded.credits)
