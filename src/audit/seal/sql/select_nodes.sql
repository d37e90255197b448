-- Perfect subtrees of the tree of seals, in the order in which they are asked for. Each stands with the seal that
-- completed it.
-- $1 bigint[]: those seals
-- $2 int[]: the heights, 0 for the leaf itself
select seals.nodes[asked.level + 1] as hash
  from unnest($1::bigint[], $2::int[]) with ordinality as asked(seal, level, place)
  join seals on seals.seal = asked.seal
 order by asked.place
