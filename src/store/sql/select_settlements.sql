-- Which holds are settled and which spends are reversed, and how.
-- $1 smallint[], $2 bigint[]: places, pairwise
select s.shard, s.position, s.settlement
  from unnest($1::smallint[], $2::bigint[]) as asked(shard, position)
  join settlements s on s.shard = asked.shard and s.position = asked.position
