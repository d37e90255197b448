-- What is to be erased, oldest first.
-- $1 bigint: only rows after this id
-- $2 bigint: at most so many
select id, aggregate_type, aggregate_id
  from outbox
 where kind = 'erasure' and id > $1
 order by id
 limit $2
