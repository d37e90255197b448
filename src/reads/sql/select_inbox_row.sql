-- A delivery, without its body.
-- $1 text: source
-- $2 text: key
select source, key, provider_event_id, outcome, reason, waits_for, received_at, attempts, deliveries, next_attempt_at
  from inbox
 where source = $1 and key = $2
