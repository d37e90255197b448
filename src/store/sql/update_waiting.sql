-- What waits for this may be tried again now.
-- $1 text: what it waits for
-- $2 timestamptz: now
-- Locks: the rows.
update inbox set next_attempt_at = $2 where outcome = 'parked' and waits_for = $1 and next_attempt_at > $2
