-- Personal data that an event of its stream says is erased.
-- $1 text[] aggregate types, $2 text[] aggregate ids, $3 bigint[] sequences of those events
-- Locks: the rows. Only who holds the lock of the stream's shard adds any.
delete from personal p
 using unnest($1::text[], $2::text[], $3::bigint[]) as erased(aggregate_type, aggregate_id, sequence)
 where p.aggregate_type = erased.aggregate_type and p.aggregate_id = erased.aggregate_id
   and p.sequence < erased.sequence
