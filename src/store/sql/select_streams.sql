-- The states of streams.
-- $1 stream_key[]
select s.aggregate_type, s.aggregate_id, s.shard, s.version, s.state::text as state
  from unnest($1::pg_temp.stream_key[]) as asked
  join streams s on s.aggregate_type = asked.aggregate_type and s.aggregate_id = asked.aggregate_id
