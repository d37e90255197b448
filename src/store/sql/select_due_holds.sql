-- The open holds that time out until a time, and the next one, which tells when to look again.
-- $1 text[] users, $2 bigint[] times, seconds since 1970: pairwise
select asked.user_id, h.shard, h.position, h.times_out_at_s, e.payload::text as payload
  from unnest($1::text[], $2::bigint[]) as asked(user_id, until_s)
 cross join lateral (
         (select shard, position, times_out_at_s
            from holds
           where holds.user_id = asked.user_id and times_out_at_s <= asked.until_s)
          union all
         (select shard, position, times_out_at_s
            from holds
           where holds.user_id = asked.user_id and times_out_at_s > asked.until_s
           order by times_out_at_s
           limit 1)) as h
  join events e on e.shard = h.shard and e.position = h.position
