-- What is to be looked at, oldest first.
-- $1 bigint: only rows after this id
-- $2 bigint: at most so many
-- $3 timestamptz: of purchases to be matched only those since before this time
select id, kind, aggregate_type, aggregate_id, sequence, subject
  from outbox
 where id > $1 and (kind <> 'match' or aggregate_type <> 'purchase' or created_at <= $3)
 order by id
 limit $2
