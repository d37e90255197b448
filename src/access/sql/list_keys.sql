-- API keys as they are shown, the good ones first, then the newest first. Never a digest.
-- $1 bigint: at most so many
select prefix, name, scopes, created_at, revoked_at
  from api_keys
 order by revoked_at is not null, created_at desc, prefix
 limit $1
