-- Which requests were answered already, and how.
-- $1 request_key[]
select r.principal, r.idempotency_key, r.digest, r.fields::text as fields, r.status, r.body::text as body
  from unnest($1::pg_temp.request_key[]) as asked
  join requests r on r.principal = asked.principal and r.idempotency_key = asked.idempotency_key
