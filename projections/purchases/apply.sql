-- What became of each payment. Whom it is for and what it buys is said once, by whichever event knows it; how its money
-- stands is said by the newest event that changes it.
-- handles: PaymentCaptured, PayerNamed, PayerErased, PurchaseClaimed, PurchasePriced, PaymentRefunded, RefundFailed
-- handles: SubscriptionNamed, PaymentDisputed, DisputeWon, DisputeLost, PaymentMerged, PaymentAbsorbed
-- ignores: UserRegistered, SignupBonusGranted, UserProfileChanged, UserDeleted, ErasureRequested, UserErased
-- ignores: CreditsPurchased, CreditsHeldBack, CreditsClawedBack, CreditsRestored, SubscriptionChanged, PlanChanged
-- ignores: UserReferred, CreditsGranted, CreditsSpent, SpendReversed, CreditsHeld, HoldCaptured, HoldReleased, CreditsExpired
insert into purchases as known (purchase_id, user_id, captured, amount_minor, currency, order_id, sku, credits,
                                subscription_id, payer_email, payer_erased, refunded_minor, disputed_minor, lost_minor,
                                standing_sequence, part_of, paid_at, recorded_at)
select aggregate_id, user_id, captured, amount_minor, currency, order_id, sku, coalesce(credits, 0), subscription_id,
       case when user_id is null and not payer_erased then payer_email end, payer_erased,
       coalesce(standing[2], 0), coalesce(standing[3], 0), coalesce(standing[4], 0), coalesce(standing[1], 0),
       part_of, to_timestamp(paid_at_s), recorded_at
  from (select aggregate_id,
               max(payload->>'user_id') as user_id,
               bool_or(event_type = 'PaymentCaptured') as captured,
               max((payload->>'amount_minor')::bigint) filter (where event_type = 'PaymentCaptured') as amount_minor,
               max(payload->>'currency') as currency,
               max(payload->>'order_id') as order_id,
               max(payload->'price'->>'sku') as sku,
               max((payload->'price'->>'credits')::bigint) as credits,
               max(payload->>'subscription_id') as subscription_id,
               max(profile->>'email') as payer_email,
               bool_or(event_type = 'PayerErased') as payer_erased,
               max(array[sequence,
                         coalesce((payload->'after'->>'refunded_minor')::bigint, 0),
                         coalesce((payload->'after'->>'disputed_minor')::bigint, 0),
                         coalesce((payload->'after'->>'lost_minor')::bigint, 0)])
                 filter (where payload ? 'after') as standing,
               max(payload->>'into') as part_of,
               max((payload->>'paid_at_s')::bigint) as paid_at_s,
               min(recorded_at) as recorded_at
          from (select aggregate_id, sequence, event_type, payload, profile, recorded_at
                  from batch offset 0) as parsed -- The offset keeps each payload parsed once, not once for each field.
         group by aggregate_id) as folded
 order by aggregate_id
    on conflict (purchase_id) do update
   set user_id = coalesce(known.user_id, excluded.user_id),
       captured = known.captured or excluded.captured,
       amount_minor = coalesce(known.amount_minor, excluded.amount_minor),
       currency = coalesce(known.currency, excluded.currency),
       order_id = coalesce(known.order_id, excluded.order_id),
       sku = coalesce(known.sku, excluded.sku),
       credits = greatest(known.credits, excluded.credits),
       subscription_id = coalesce(known.subscription_id, excluded.subscription_id),
       payer_erased = known.payer_erased or excluded.payer_erased,
       payer_email = case when coalesce(known.user_id, excluded.user_id) is null
                           and not (known.payer_erased or excluded.payer_erased)
                          then coalesce(known.payer_email, excluded.payer_email) end,
       (refunded_minor, disputed_minor, lost_minor, standing_sequence) = (
         select case when newer then excluded.refunded_minor else known.refunded_minor end,
                case when newer then excluded.disputed_minor else known.disputed_minor end,
                case when newer then excluded.lost_minor else known.lost_minor end,
                greatest(known.standing_sequence, excluded.standing_sequence)
           from (select excluded.standing_sequence > known.standing_sequence as newer) as rule),
       part_of = coalesce(known.part_of, excluded.part_of),
       paid_at = coalesce(known.paid_at, excluded.paid_at)
