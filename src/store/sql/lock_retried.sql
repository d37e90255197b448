-- The deliveries that are tried again, locked until the batch commits: what became of them so far.
-- $1 delivery_key[]
-- Locks: inbox rows, in the order of keys; after the heads, and before anything is read.
select i.source, i.key, i.outcome, i.attempts, i.next_attempt_at
  from unnest($1::pg_temp.delivery_key[]) as asked
  join inbox i on i.source = asked.source and i.key = asked.key
 order by i.source, i.key
   for update of i
