-- How much there is to read: for a bar, and for nothing else.
select (select coalesce(sum(position), 0)::bigint from heads) as events,
       (select count(*) from inbox) + (select count(*) from streams) + (select count(*) from lots)
       + (select count(*) from holds) + (select count(*) from settlements) + (select count(*) from balance)
       + (select count(*) from users) + (select count(*) from purchases) + (select count(*) from entries)
       + (select count(*) from seals) as others
