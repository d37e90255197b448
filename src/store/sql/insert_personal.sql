-- Personal data beside the events whose digests stand for it.
-- $1 text[] aggregate types, $2 text[] aggregate ids, $3 bigint[] sequences, $4 bytea[] salts, $5 text[] profiles
insert into personal (aggregate_type, aggregate_id, sequence, salt, profile)
select aggregate_type, aggregate_id, sequence, salt, profile::json
  from unnest($1::text[], $2::text[], $3::bigint[], $4::bytea[], $5::text[])
       as item(aggregate_type, aggregate_id, sequence, salt, profile)
