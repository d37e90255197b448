-- Holds that were placed.
-- $1 smallint[] shards, $2 bigint[] positions, $3 text[] users, $4 bigint[] times, seconds since 1970
insert into holds (shard, position, user_id, times_out_at_s)
select shard, position, user_id, times_out_at_s
  from unnest($1::smallint[], $2::bigint[], $3::text[], $4::bigint[])
       as item(shard, position, user_id, times_out_at_s)
