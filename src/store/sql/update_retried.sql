-- What became of deliveries that were tried again.
-- $1 text[] sources, $2 text[] keys, $3 text[] outcomes, $4 text[] reasons, $5 text[] what they wait for, $6 timestamptz[]
-- when they are due again, $7 text[] shards and $8 text[] positions of the events they led to (array literals: rows
-- differ in length)
-- Locks: none that lock_retried.sql did not take.
update inbox i
   set outcome = tried.outcome, reason = tried.reason, waits_for = tried.waits_for,
       next_attempt_at = tried.next_attempt_at, attempts = i.attempts + 1,
       shards = tried.shards::smallint[], positions = tried.positions::bigint[]
  from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[], $7::text[], $8::text[])
       as tried(source, key, outcome, reason, waits_for, next_attempt_at, shards, positions)
 where i.source = tried.source and i.key = tried.key and i.outcome = 'parked'
