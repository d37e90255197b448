-- What is to be looked at, oldest first.
-- $1 bigint: only rows after this id
-- $2 bigint: at most so many
select id, kind, aggregate_type, aggregate_id, sequence, subject
  from outbox
 where id > $1
 order by id
 limit $2
