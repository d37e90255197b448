-- What became of holds and spends.
-- $1 text: only this user's; null: all
select s.shard, s.position, s.settlement
  from settlements s
 where $1::text is null
    or exists (select from events e
                where e.shard = s.shard and e.position = s.position
                  and e.aggregate_type = 'user' and e.aggregate_id = $1)
 order by s.position, s.shard
