-- The account after the newest event of each user. Events carry the account after them, so the last one says it all.
-- handles: SignupBonusGranted, CreditsPurchased, CreditsHeldBack, CreditsClawedBack, CreditsRestored
-- handles: CreditsGranted, CreditsSpent, SpendReversed, CreditsHeld, HoldCaptured
-- handles: HoldReleased, CreditsExpired
-- ignores: UserRegistered, UserProfileChanged, UserDeleted, ErasureRequested, UserErased, SubscriptionChanged
-- ignores: PlanChanged, UserReferred
-- ignores: PaymentCaptured, PayerNamed, PayerErased, PurchaseClaimed, PurchasePriced, PaymentRefunded, RefundFailed
-- ignores: SubscriptionNamed, PaymentDisputed, DisputeWon, DisputeLost, PaymentMerged, PaymentAbsorbed
insert into balance as known (user_id, balance, held, debt, version)
select distinct on (aggregate_id)
       aggregate_id, balance, held, debt, sequence
  from batch
 order by aggregate_id, sequence desc
    on conflict (user_id) do update
   set balance = excluded.balance, held = excluded.held, debt = excluded.debt, version = excluded.version
 where known.version < excluded.version
