-- Requests with the answers they got. Fails with requests_pkey when another instance answered one just now.
-- $1 text[] principals, $2 text[] idempotency keys, $3 bytea[] digests of the requests, $4 smallint[] statuses, $5 text[]
-- bodies, $6 timestamptz[] times
-- Locks: the new keys, in their order.
insert into requests (principal, idempotency_key, digest, status, body, recorded_at)
select principal, idempotency_key, digest, status, body::json, recorded_at
  from unnest($1::text[], $2::text[], $3::bytea[], $4::smallint[], $5::text[], $6::timestamptz[])
       as item(principal, idempotency_key, digest, status, body, recorded_at)
 order by principal collate "C", idempotency_key collate "C"
