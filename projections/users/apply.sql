-- The newest profile of each user, until the user is gone. `profile` is null where the data was erased.
-- handles: UserRegistered, UserProfileChanged, UserDeleted
-- ignores: SignupBonusGranted, CreditsPurchased, PaymentCaptured, PurchaseClaimed, PurchasePriced
insert into users as known (user_id, registered, deleted, plan, email, email_verified, first_name, last_name,
                            profile_sequence, registered_at)
select aggregate_id,
       registered,
       deleted,
       plan,
       case when deleted then null else profile->>'email' end,
       case when deleted then false else coalesce((profile->>'email_verified')::boolean, false) end,
       case when deleted then null else profile->>'first_name' end,
       case when deleted then null else profile->>'last_name' end,
       profile_sequence,
       registered_at
  from (select aggregate_id,
               bool_or(event_type = 'UserRegistered') as registered,
               bool_or(event_type = 'UserDeleted') as deleted,
               max(payload->>'plan') as plan,
               (array_agg(profile order by sequence desc) filter (where payload->'profile' is not null))[1] as profile,
               coalesce(max(sequence) filter (where payload->'profile' is not null), 0) as profile_sequence,
               min(recorded_at) filter (where event_type = 'UserRegistered') as registered_at
          from batch
         group by aggregate_id) as folded
 order by aggregate_id
    on conflict (user_id) do update
   set registered = known.registered or excluded.registered,
       deleted = known.deleted or excluded.deleted,
       plan = coalesce(known.plan, excluded.plan),
       (email, email_verified, first_name, last_name) = (
         select case when gone then null when newer then excluded.email else known.email end,
                case when gone then false when newer then excluded.email_verified else known.email_verified end,
                case when gone then null when newer then excluded.first_name else known.first_name end,
                case when gone then null when newer then excluded.last_name else known.last_name end
           from (select known.deleted or excluded.deleted as gone,
                        excluded.profile_sequence > known.profile_sequence as newer) as rule),
       profile_sequence = greatest(known.profile_sequence, excluded.profile_sequence),
       registered_at = coalesce(known.registered_at, excluded.registered_at)
