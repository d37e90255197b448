-- Whether a payment names a user who has no events: a purchase that fits nothing gives no credits. Reads the whole log.
-- $1 text: user id
select exists (
  select from events
   where aggregate_type = 'purchase' and payload->>'user_id' = $1) as named
