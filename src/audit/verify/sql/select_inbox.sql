-- Stored deliveries with their bodies, for whoever verifies them here; bodies hold personal data and go nowhere.
select source, key, provider_event_id, body_sha256, headers::text as headers, secret, received_at, outcome, reason,
       shards, positions, erased_at is not null as erased, body
  from inbox
