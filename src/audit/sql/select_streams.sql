-- The state of streams after their last events.
-- $1 text[], $2 text[]: only these (types and ids, pairwise); null: all
select shard, aggregate_type, aggregate_id, version, state::text as state, due_at_s
  from streams
 where $1::text[] is null
    or (aggregate_type, aggregate_id) in (select * from unnest($1::text[], $2::text[]))
 order by aggregate_id, aggregate_type, shard
