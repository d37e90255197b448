-- How many events are sealed, and how many there are.
select coalesce((select sum(position)::bigint
                   from unnest((select positions from seals order by seal desc limit 1)) as position), 0) as sealed,
       (select sum(position)::bigint from heads) as written
