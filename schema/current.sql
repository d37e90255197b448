-- The whole schema, as the migrations make it. Read this one; the migrations tell how it came to be.
-- See README.md for what each table means. Names and ids compare by their bytes (collate "C"), and keys begin with what
-- tells rows apart: both make look-ups cheaper, and no locale's order is ever meant. A test compares it with the migrations.

-- How this database was made: one row, never changed. `home_function` is the version of the rule that maps a
-- user id to a shard.
create table ledger (
  only_row boolean not null default true,
  shards smallint not null,
  home_function smallint not null,
  constraint ledger_pkey primary key (only_row),
  constraint ledger_only_row check (only_row),
  constraint ledger_shards check (shards between 1 and 1024)
);

-- The end of each shard: its last position, hash and time. Whoever appends to a shard locks its row.
create table heads (
  shard smallint not null,
  position bigint not null,
  hash bytea not null,
  recorded_at timestamptz not null,
  constraint heads_pkey primary key (shard),
  constraint heads_position check (position >= 0),
  constraint heads_hash check (length(hash) = 32)
) with (fillfactor = 10);

-- The log. The first seven columns are those of stock postgres-es, so that its tools can read the history.
create table events (
  aggregate_type text collate "C" not null,
  aggregate_id text collate "C" not null,
  sequence bigint not null,
  event_type text collate "C" not null,
  event_version text not null,
  payload json not null,
  metadata json not null,
  shard smallint not null,
  position bigint not null,
  recorded_at timestamptz not null,
  source text collate "C" not null,
  provider_event_id text collate "C",
  hash bytea not null,
  constraint events_pkey primary key (aggregate_id, aggregate_type, sequence, shard),
  constraint events_position_key unique (shard, position),
  constraint events_sequence check (sequence > 0),
  constraint events_position check (position > 0),
  constraint events_hash check (length(hash) = 32)
) with (fillfactor = 100, autovacuum_vacuum_insert_threshold = 50000, autovacuum_freeze_min_age = 0);

create function refuse_change() returns trigger language plpgsql as $$
begin
  raise exception 'events is append-only: % refused', tg_op using errcode = 'insufficient_privilege';
end $$;

create trigger events_refuse_row_change before update or delete on events
  for each row execute function refuse_change();
create trigger events_refuse_truncate before truncate on events
  for each statement execute function refuse_change();
-- Also for a session that replays (session_replication_role = replica).
alter table events enable always trigger events_refuse_row_change;
alter table events enable always trigger events_refuse_truncate;

-- The state of each stream after its last event: always the fold of its events.
create table streams (
  aggregate_type text collate "C" not null,
  aggregate_id text collate "C" not null,
  shard smallint not null,
  version bigint not null,
  state json not null,
  constraint streams_pkey primary key (aggregate_id, aggregate_type, shard),
  constraint streams_version check (version > 0)
) with (fillfactor = 80);

-- Where a purchase lives, decided when it is first recorded. One row per purchase in the whole database.
create table homes (
  purchase_id text collate "C" not null,
  shard smallint not null,
  constraint homes_pkey primary key (purchase_id)
);

-- Every verified delivery, with its very bytes. The key lets one provider event enter once, for ever.
create table inbox (
  source text collate "C" not null,
  key text collate "C" not null,
  provider_event_id text collate "C" not null,
  body bytea not null,
  body_sha256 bytea not null,
  headers json not null,
  secret text not null,
  received_at timestamptz not null,
  outcome text not null,
  reason text,
  attempts integer not null default 1,
  deliveries integer not null default 1,
  shards smallint[] not null,
  positions bigint[] not null,
  waits_for text collate "C",
  next_attempt_at timestamptz,
  constraint inbox_pkey primary key (key, source),
  constraint inbox_outcome check (outcome in ('recorded', 'duplicate', 'ignored', 'parked')),
  constraint inbox_positions check (cardinality(shards) = cardinality(positions))
) with (fillfactor = 90);

-- An event looked up by the id that its provider gave it.
create index inbox_provider_event_id on inbox (provider_event_id) where provider_event_id <> key;
-- Parked deliveries: as operators list them; by when they are due again, those that say nothing of it first received
-- first; and by what they wait for.
create index inbox_parked on inbox (received_at) where outcome = 'parked';
create index inbox_due on inbox (coalesce(next_attempt_at, received_at)) where outcome = 'parked';
create index inbox_waits_for on inbox (waits_for) where outcome = 'parked' and waits_for is not null;
-- What operators look at: deliveries by what became of them, and when each provider last delivered.
create index inbox_outcome on inbox (outcome, source, received_at);

-- What is to be looked at after a commit: `match`, whether an e-mail address now has a user and an unclaimed purchase;
-- `subscription`, what waits for the user of a subscription (`subject`). A row points to the event that calls for it and
-- goes when it is done.
create table outbox (
  id bigint generated always as identity,
  kind text collate "C" not null,
  aggregate_type text collate "C" not null,
  aggregate_id text collate "C" not null,
  sequence bigint not null,
  subject text collate "C",
  created_at timestamptz not null,
  constraint outbox_pkey primary key (id),
  constraint outbox_kind check (kind in ('match', 'subscription')),
  constraint outbox_subject check ((kind = 'subscription') = (subject is not null))
) with (autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_scale_factor = 0);

-- Answers already given, by who asked and under which key: the same request gets the same answer. `fields` has a digest
-- of each field that was asked, to say which differ in another request under the same key.
create table requests (
  principal text collate "C" not null,
  idempotency_key text collate "C" not null,
  digest bytea not null,
  status smallint not null,
  body json not null,
  recorded_at timestamptz not null,
  fields json not null,
  constraint requests_pkey primary key (idempotency_key, principal),
  constraint requests_digest check (length(digest) = 32)
);

-- Personal data beside the log. An event carries the salted digest; deleting a row breaks nothing.
create table personal (
  aggregate_type text collate "C" not null,
  aggregate_id text collate "C" not null,
  sequence bigint not null,
  salt bytea not null,
  profile json not null,
  constraint personal_pkey primary key (aggregate_id, aggregate_type, sequence)
);

-- The read models that exist, and which SQL they were built with.
create table read_models (
  name text collate "C" not null,
  version integer not null,
  digest text not null,
  built_at timestamptz not null,
  constraint read_models_pkey primary key (name)
);
