-- Witnesses who are said to know seals that are not there.
-- Gives `missing` (there is no such row), shard, position, stream, what.
select true as missing, null::smallint as shard, null::bigint as position, null::text as stream,
       'seals: witness ' || w.name || ' was told of seal ' || w.seal || ', which is not there' as what
  from witnesses w
 where w.seal > (select coalesce(max(seal), 0) from seals)
 order by w.name
