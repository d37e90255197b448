-- Which requests were answered already, and how.
-- $1 text[], $2 text[]: principals and idempotency keys, pairwise
select r.principal, r.idempotency_key, r.digest, r.fields::text as fields, r.status, r.body::text as body
  from unnest($1::text[], $2::text[]) as asked(principal, idempotency_key)
  join requests r on r.principal = asked.principal and r.idempotency_key = asked.idempotency_key
