-- Holds that were placed.
-- $1 hold_row[]
insert into holds (shard, position, user_id, times_out_at_s)
select shard, position, user_id, times_out_at_s
  from unnest($1::pg_temp.hold_row[])
