-- Requests with the answers they got. Fails with requests_pkey when another instance answered one just now.
-- $1 request_row[], in the order of keys: `digest` of the request, `fields` the digests of its fields (JSON)
-- Locks: the new keys, as given.
insert into requests (principal, idempotency_key, digest, fields, status, body, recorded_at)
select principal, idempotency_key, digest, fields::json, status, body::json, recorded_at
  from unnest($1::pg_temp.request_row[])
