-- Users who were deleted some time ago and whose erasure nobody asked for yet, the longest deleted first.
-- $1 timestamptz: deleted at that time or before it
-- $2 bigint: at most so many
select user_id
  from users
 where deleted_at <= $1 and not erasure_requested
 order by deleted_at, user_id
 limit $2
