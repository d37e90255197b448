-- Users whose credits may have ended or whose holds may have timed out, the longest due first.
-- $1 bigint: now, seconds since 1970
-- $2 bigint, $3 text: only those behind this time and user
-- $4 bigint: at most so many
select due_at_s, aggregate_id as user_id
  from streams
 where due_at_s is not null and due_at_s <= $1 and aggregate_type = 'user'
   and (due_at_s, aggregate_id) > ($2, $3)
 order by due_at_s, aggregate_id
 limit $4
