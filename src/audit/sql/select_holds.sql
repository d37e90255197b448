-- Open holds.
-- $1 text: only this user's; null: all
select shard, position, user_id, times_out_at_s
  from holds
 where $1::text is null or user_id = $1
 order by position, shard
