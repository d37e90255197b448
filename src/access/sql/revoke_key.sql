-- Revokes an API key for ever. One that was revoked before keeps its time.
-- $1 text: prefix
-- $2 timestamptz: now
update api_keys
   set revoked_at = coalesce(revoked_at, $2)
 where prefix = $1
returning prefix, name, scopes, created_at, revoked_at
