-- What is to be looked at once this batch is committed.
-- $1 text[] kinds, $2 text[] aggregate types, $3 text[] aggregate ids, $4 bigint[] sequences of the events that call for
-- it, $5 text[] subjects, $6 timestamptz: now
insert into outbox (kind, aggregate_type, aggregate_id, sequence, subject, created_at)
select kind, aggregate_type, aggregate_id, sequence, subject, $6
  from unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::text[])
       as item(kind, aggregate_type, aggregate_id, sequence, subject)
