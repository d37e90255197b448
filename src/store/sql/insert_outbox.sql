-- What is to be looked at once this batch is committed.
-- $1 outbox_row[]: each with the event that calls for it
insert into outbox (kind, aggregate_type, aggregate_id, sequence, subject, created_at)
select kind, aggregate_type, aggregate_id, sequence, subject, created_at
  from unnest($1::pg_temp.outbox_row[])
