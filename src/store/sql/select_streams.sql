-- The states of streams.
-- $1 text[], $2 text[]: aggregate types and ids, pairwise
select s.aggregate_type, s.aggregate_id, s.shard, s.version, s.state::text as state
  from unnest($1::text[], $2::text[]) as asked(aggregate_type, aggregate_id)
  join streams s on s.aggregate_type = asked.aggregate_type and s.aggregate_id = asked.aggregate_id
