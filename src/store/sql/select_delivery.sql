-- A stored delivery, with its very bytes.
-- $1 text: source, $2 text: key
select source, key, provider_event_id, body, body_sha256, headers::text as headers, secret, received_at, outcome, reason,
       waits_for, attempts, next_attempt_at
  from inbox
 where source = $1 and key = $2
