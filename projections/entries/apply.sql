-- One row per movement. A movement never changes, so one that is there stays.
-- handles: SignupBonusGranted, CreditsPurchased, CreditsHeldBack, CreditsClawedBack, CreditsRestored
-- handles: CreditsGranted, CreditsSpent, SpendReversed, CreditsHeld, HoldCaptured
-- handles: HoldReleased, CreditsExpired
-- ignores: UserRegistered, UserProfileChanged, UserDeleted, ErasureRequested, UserErased, SubscriptionChanged
-- ignores: PlanChanged, UserReferred
-- ignores: PaymentCaptured, PayerNamed, PayerErased, PurchaseClaimed, PurchasePriced, PaymentRefunded, RefundFailed
-- ignores: SubscriptionNamed, PaymentDisputed, DisputeWon, DisputeLost, PaymentMerged, PaymentAbsorbed
insert into entries (user_id, sequence, shard, position, type, delta, balance, purchase_id, source,
                     provider_event_id, recorded_at, slices, about, reason, reference)
select aggregate_id, sequence, shard, position, event_type, delta, balance, purchase_id, source, provider_event_id,
       recorded_at,
       -- What comes in whole says nothing more: its payload is not even parsed.
       case when not whole then coalesce(payload->'slices', payload->'returned') end,
       case when not whole then coalesce(payload->>'entry_id', payload->>'hold_id') end,
       case when not whole then payload->>'reason' end,
       case when not whole then payload->>'reference' end
  from (select *, event_type in ('CreditsPurchased', 'SignupBonusGranted') as whole from batch) as movement
 order by aggregate_id, sequence
    on conflict (user_id, sequence) do nothing
