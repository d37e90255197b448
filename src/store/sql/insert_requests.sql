-- Requests with the answers they got. Fails with requests_pkey when another instance answered one just now.
-- $1 text[] principals, $2 text[] idempotency keys, $3 bytea[] digests of the requests, $4 text[] digests of their fields,
-- JSON, $5 smallint[] statuses, $6 text[] bodies, $7 timestamptz[] times
-- Locks: the new keys, in their order.
insert into requests (principal, idempotency_key, digest, fields, status, body, recorded_at)
select principal, idempotency_key, digest, fields::json, status, body::json, recorded_at
  from unnest($1::text[], $2::text[], $3::bytea[], $4::text[], $5::smallint[], $6::text[], $7::timestamptz[])
       as item(principal, idempotency_key, digest, fields, status, body, recorded_at)
 order by principal collate "C", idempotency_key collate "C"
