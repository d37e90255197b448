-- Keeps a new API key, unless so many are good already.
-- $1 text: prefix
-- $2 text: name
-- $3 bytea: SHA-256 of the key
-- $4 text[]: scopes
-- $5 timestamptz: now
-- $6 bigint: the most keys that may be good
insert into api_keys (prefix, name, digest, scopes, created_at)
select $1, $2, $3, $4, $5
 where (select count(*) from (select from api_keys where revoked_at is null limit $6) as live) < $6
