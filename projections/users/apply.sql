-- The newest profile of each user, until the user is gone; `profile` is null where the data was erased. The plan is the
-- last one that was set, else that of the registration.
-- handles: UserRegistered, SignupBonusGranted, UserProfileChanged, UserDeleted, ErasureRequested, UserErased
-- handles: PlanChanged
-- ignores: CreditsPurchased, CreditsHeldBack, CreditsClawedBack, CreditsRestored, SubscriptionChanged
-- ignores: UserReferred, CreditsGranted, CreditsSpent, SpendReversed, CreditsHeld, HoldCaptured, HoldReleased
-- ignores: CreditsExpired
-- ignores: PaymentCaptured, PayerNamed, PayerErased, PurchaseClaimed, PurchasePriced, PaymentRefunded, RefundFailed
-- ignores: SubscriptionNamed, PaymentDisputed, DisputeWon, DisputeLost, PaymentMerged, PaymentAbsorbed
insert into users as known (user_id, registered, deleted, erasure_requested, erased, bonus, plan, plan_sequence, email,
                            email_verified, first_name, last_name, profile_sequence, registered_at, deleted_at)
select aggregate_id,
       registered,
       deleted,
       erasure_requested,
       erased,
       bonus,
       coalesce(changed_plan, first_plan),
       plan_sequence,
       case when deleted then null else profile->>'email' end,
       case when deleted then false else coalesce((profile->>'email_verified')::boolean, false) end,
       case when deleted then null else profile->>'first_name' end,
       case when deleted then null else profile->>'last_name' end,
       profile_sequence,
       registered_at,
       deleted_at
  from (select aggregate_id,
               bool_or(event_type = 'UserRegistered') as registered,
               bool_or(event_type = 'UserDeleted') as deleted,
               bool_or(event_type = 'ErasureRequested') as erasure_requested,
               bool_or(event_type = 'UserErased') as erased,
               bool_or(event_type = 'SignupBonusGranted') as bonus,
               max(payload->>'plan') filter (where event_type = 'UserRegistered') as first_plan,
               (array_agg(payload->>'plan' order by sequence desc) filter (where event_type = 'PlanChanged'))[1]
                 as changed_plan,
               coalesce(max(sequence) filter (where event_type = 'PlanChanged'), 0) as plan_sequence,
               (array_agg(profile order by sequence desc) filter (where payload->'profile' is not null))[1] as profile,
               coalesce(max(sequence) filter (where payload->'profile' is not null), 0) as profile_sequence,
               min(recorded_at) filter (where event_type = 'UserRegistered') as registered_at,
               min(recorded_at) filter (where event_type = 'UserDeleted') as deleted_at
          from (select aggregate_id, sequence, event_type, payload, profile, recorded_at
                  from batch offset 0) as parsed -- The offset keeps each payload parsed once, not once for each field.
         group by aggregate_id) as folded
 order by aggregate_id
    on conflict (user_id) do update
   set registered = known.registered or excluded.registered,
       deleted = known.deleted or excluded.deleted,
       erasure_requested = known.erasure_requested or excluded.erasure_requested,
       erased = known.erased or excluded.erased,
       bonus = known.bonus or excluded.bonus,
       plan = case when excluded.plan_sequence > known.plan_sequence then excluded.plan
                   else coalesce(known.plan, excluded.plan) end,
       plan_sequence = greatest(known.plan_sequence, excluded.plan_sequence),
       (email, email_verified, first_name, last_name) = (
         select case when gone then null when newer then excluded.email else known.email end,
                case when gone then false when newer then excluded.email_verified else known.email_verified end,
                case when gone then null when newer then excluded.first_name else known.first_name end,
                case when gone then null when newer then excluded.last_name else known.last_name end
           from (select known.deleted or excluded.deleted as gone,
                        excluded.profile_sequence > known.profile_sequence as newer) as rule),
       profile_sequence = greatest(known.profile_sequence, excluded.profile_sequence),
       registered_at = coalesce(known.registered_at, excluded.registered_at),
       deleted_at = coalesce(known.deleted_at, excluded.deleted_at)
