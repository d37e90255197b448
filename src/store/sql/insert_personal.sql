-- Personal data beside the events whose digests stand for it.
-- $1 personal_row[]
insert into personal (aggregate_type, aggregate_id, sequence, salt, profile)
select aggregate_type, aggregate_id, sequence, salt, profile::json
  from unnest($1::pg_temp.personal_row[])
