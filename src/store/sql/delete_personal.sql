-- Personal data that an event of its stream says is erased.
-- $1 erased_row[]: streams, and the sequences of those events
-- Locks: the rows. Only who holds the lock of the stream's shard adds any.
delete from personal p
 using unnest($1::pg_temp.erased_row[]) as erased
 where p.aggregate_type = erased.aggregate_type and p.aggregate_id = erased.aggregate_id
   and p.sequence < erased.sequence
