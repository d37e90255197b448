-- Who is known, with the personal data that is still there.
create table users (
  user_id text collate "C" not null,
  registered boolean not null,
  deleted boolean not null,
  -- The release before writes beside us and does not know them.
  erasure_requested boolean not null default false,
  erased boolean not null default false,
  bonus boolean not null,
  plan text,
  plan_sequence bigint not null,
  email text,
  email_verified boolean not null,
  first_name text,
  last_name text,
  profile_sequence bigint not null,
  registered_at timestamptz,
  deleted_at timestamptz,
  constraint users_pkey primary key (user_id)
) with (fillfactor = 80);
-- Users with an address, whatever its case. An address is not unique.
create index users_email on users (lower(email)) where email is not null;
-- Users who never got the bonus of a sign-up.
create index users_without_bonus on users (user_id) where not bonus and not deleted;
-- Users who are gone and may have to be erased.
create index users_to_erase on users (deleted_at, user_id) where deleted_at is not null and not erasure_requested;
-- All users as they are listed: the newest registration first, who never registered last.
create index users_newest on users (coalesce(registered_at, timestamptz 'epoch'), user_id);
