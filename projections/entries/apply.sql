-- One row per movement. A movement never changes, so one that is there stays.
-- handles: SignupBonusGranted, CreditsPurchased, CreditsHeldBack, CreditsClawedBack, CreditsRestored
-- ignores: UserRegistered, UserProfileChanged, UserDeleted, SubscriptionChanged, PlanChanged
-- ignores: PaymentCaptured, PayerNamed, PurchaseClaimed, PurchasePriced, PaymentRefunded, RefundFailed
-- ignores: SubscriptionNamed, PaymentDisputed, DisputeWon, DisputeLost, PaymentMerged, PaymentAbsorbed
insert into entries (user_id, sequence, shard, position, type, delta, balance, purchase_id, source,
                     provider_event_id, recorded_at)
select aggregate_id, sequence, shard, position, event_type, delta, balance, purchase_id, source, provider_event_id,
       recorded_at
  from batch
 order by aggregate_id, sequence
    on conflict (user_id, sequence) do nothing
