-- Users who were deleted some time ago and whose erasure nobody asked for yet, the longest deleted first.
-- $1 timestamptz: deleted at that time or before it
-- $2 timestamptz, $3 text: only those after this time and user id
-- $4 bigint: at most so many
select deleted_at, user_id
  from users
 where deleted_at <= $1 and not erasure_requested and (deleted_at, user_id) > ($2, $3)
 order by deleted_at, user_id
 limit $4
