-- What became of deliveries that were tried again. The body of one that is about somebody who was erased, or was found to
-- hold what is erased, goes as soon as it does not wait any more.
-- $1 text[] sources, $2 text[] keys, $3 text[] outcomes, $4 text[] reasons, $5 text[] what they wait for, $6 timestamptz[]
-- when they are due again, $7 text[] shards and $8 text[] positions of the events they led to (array literals: rows
-- differ in length), $9 timestamptz[] when they turned out to be about somebody who was erased
-- Locks: none that lock_retried.sql did not take.
update inbox i
   set outcome = tried.outcome, reason = tried.reason, waits_for = tried.waits_for,
       next_attempt_at = tried.next_attempt_at, attempts = i.attempts + 1,
       shards = tried.shards::smallint[], positions = tried.positions::bigint[],
       erased_at = coalesce(i.erased_at, tried.erased_at),
       body = case when tried.outcome <> 'parked' and coalesce(i.erased_at, tried.erased_at) is not null then ''
                   else i.body end
  from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[], $7::text[], $8::text[],
              $9::timestamptz[])
       as tried(source, key, outcome, reason, waits_for, next_attempt_at, shards, positions, erased_at)
 where i.source = tried.source and i.key = tried.key and i.outcome = 'parked'
