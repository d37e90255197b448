-- The API keys that are good, oldest first.
-- $1 bigint: at most so many
select prefix, name, digest, scopes
  from api_keys
 where revoked_at is null
 order by created_at, prefix
 limit $1
