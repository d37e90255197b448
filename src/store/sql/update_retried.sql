-- What became of deliveries that were tried again. The body of one that is about somebody who was erased, or was found to
-- hold what is erased, goes as soon as it does not wait any more.
-- $1 retried_row[]: keys, and what is known now; `erased_at`: when they turned out to be about somebody who was erased
-- Locks: none that lock_retried.sql did not take.
update inbox i
   set outcome = tried.outcome, reason = tried.reason, waits_for = tried.waits_for,
       next_attempt_at = tried.next_attempt_at, attempts = i.attempts + 1,
       shards = tried.shards, positions = tried.positions,
       erased_at = coalesce(i.erased_at, tried.erased_at),
       body = case when tried.outcome <> 'parked' and coalesce(i.erased_at, tried.erased_at) is not null then ''
                   else i.body end
  from unnest($1::pg_temp.retried_row[]) as tried
 where i.source = tried.source and i.key = tried.key and i.outcome = 'parked'
