-- API keys that were given out: digests, never keys. Whose they are is a name, which may have several, so that one can
-- take the place of another; what each may do is its own. Only the service reads them; the owner makes and revokes them.
create table api_keys (
  prefix text collate "C" not null,
  name text collate "C" not null,
  digest bytea not null,
  scopes text[] collate "C" not null,
  created_at timestamptz not null,
  revoked_at timestamptz,
  constraint api_keys_pkey primary key (prefix),
  constraint api_keys_prefix check (prefix ~ '^cl_[0-9a-f]{12}$'),
  constraint api_keys_name check (name ~ '^[a-z0-9_.-]{1,64}$'),
  constraint api_keys_digest check (length(digest) = 32),
  constraint api_keys_scopes check (cardinality(scopes) > 0)
);
-- The keys that are good, oldest first.
create index api_keys_live on api_keys (created_at, prefix) where revoked_at is null;
