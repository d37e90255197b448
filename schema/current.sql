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
  raise exception '% is append-only: % refused', tg_table_name, tg_op using errcode = 'insufficient_privilege';
end $$;

create trigger events_refuse_row_change before update or delete on events
  for each row execute function refuse_change();
create trigger events_refuse_truncate before truncate on events
  for each statement execute function refuse_change();
-- Also for a session that replays (session_replication_role = replica).
alter table events enable always trigger events_refuse_row_change;
alter table events enable always trigger events_refuse_truncate;

-- What was sealed, when, and who signed it. `root` is that of the tree over the events since the seal before, the arrays
-- say where each shard ends; `head` is the root of the tree over all seals up to it, `nodes` the perfect subtrees of that
-- tree that end with it, by height. Only ever grows.
create table seals (
  seal bigint not null,
  sealed_at timestamptz not null,
  events bigint not null,
  root bytea not null,
  shards smallint[] not null,
  positions bigint[] not null,
  hashes bytea[] not null,
  head bytea not null,
  nodes bytea[] not null,
  key_id text collate "C" not null,
  signature bytea not null,
  constraint seals_pkey primary key (seal),
  constraint seals_seal check (seal > 0),
  constraint seals_events check (events > 0),
  constraint seals_root check (length(root) = 32),
  constraint seals_ends check (cardinality(shards) = cardinality(positions) and cardinality(shards) = cardinality(hashes)),
  constraint seals_head check (length(head) = 32),
  constraint seals_nodes check (cardinality(nodes) > 0),
  constraint seals_signature check (length(signature) = 64)
);
create trigger seals_refuse_row_change before update or delete on seals
  for each row execute function refuse_change();
create trigger seals_refuse_truncate before truncate on seals
  for each statement execute function refuse_change();
alter table seals enable always trigger seals_refuse_row_change;
alter table seals enable always trigger seals_refuse_truncate;

-- How far each witness of seals was told: the last seal.
create table witnesses (
  name text collate "C" not null,
  seal bigint not null,
  constraint witnesses_pkey primary key (name),
  constraint witnesses_seal check (seal >= 0)
);

-- The state of each stream after its last event: always the fold of its events; and where it lives: a stream is in one shard,
-- which for a purchase is decided when it is first recorded. `due_at_s`: when it changes by itself,
-- since credits end or a hold times out; not later, it may be earlier.
create table streams (
  aggregate_type text collate "C" not null,
  aggregate_id text collate "C" not null,
  shard smallint not null,
  version bigint not null,
  state json not null,
  due_at_s bigint,
  constraint streams_pkey primary key (aggregate_id, aggregate_type),
  constraint streams_version check (version > 0)
) with (fillfactor = 80);

create index streams_due on streams (due_at_s) where due_at_s is not null;

-- The part of a user's state that is too much to write each time: lots behind those that burn next, and lots of purchases
-- that ended unspent (`expired`), of which some may count as taken back (`counted`).
create table lots (
  user_id text collate "C" not null,
  lot bigint not null,
  shard smallint not null,
  kind text collate "C" not null,
  priority smallint not null,
  expires_at_s bigint,
  purchase_id text collate "C",
  amount bigint not null,
  remaining bigint not null,
  contested bigint not null,
  expired bigint not null,
  counted bigint not null,
  constraint lots_pkey primary key (user_id, lot, shard),
  constraint lots_kind check (kind in ('paid', 'bonus', 'plan', 'promo')),
  constraint lots_amounts check (remaining >= 0 and contested between 0 and remaining
                                 and expired >= 0 and counted between 0 and expired)
) with (fillfactor = 80);
create index lots_burn on lots (user_id, priority, coalesce(expires_at_s, 9223372036854775807), (kind = 'paid'), lot)
 where remaining > 0;
create index lots_ends on lots (user_id, expires_at_s) where remaining > contested and expires_at_s is not null;
create index lots_purchase on lots (user_id, purchase_id) where purchase_id is not null;

-- Holds that are open, by the place of the event that placed them.
create table holds (
  shard smallint not null,
  position bigint not null,
  user_id text collate "C" not null,
  times_out_at_s bigint not null,
  constraint holds_pkey primary key (position, shard)
);
create index holds_due on holds (user_id, times_out_at_s);

-- What became of holds, and which spends were reversed, by the place of the event that placed or spent: once, for ever.
create table settlements (
  shard smallint not null,
  position bigint not null,
  settlement text collate "C" not null,
  constraint settlements_pkey primary key (position, shard),
  constraint settlements_settlement check (settlement in ('captured', 'released', 'timed out', 'reversed'))
);

-- Not used any more: `streams` says where a purchase lives. It is here for instances of the release before, which write
-- it; the next release removes it.
create table homes (
  purchase_id text collate "C" not null,
  shard smallint not null,
  constraint homes_pkey primary key (purchase_id)
);

-- Every verified delivery, with its very bytes. The key lets one provider event enter once, for ever. `erased_at`: since
-- then the body is not kept, since it held personal data that was to be erased; that of one that waits goes with the wait.
-- Rows are compressed from 3.5 KB on, not from 2 KB: that took more than all else that storing a row takes.
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
  erased_at timestamptz,
  constraint inbox_pkey primary key (key, source),
  constraint inbox_outcome check (outcome in ('recorded', 'duplicate', 'ignored', 'parked')),
  constraint inbox_positions check (cardinality(shards) = cardinality(positions)),
  constraint inbox_erased_at check (erased_at is null or outcome = 'parked' or body = '')
) with (fillfactor = 90, toast_tuple_target = 3500);

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
-- `subscription`, what waits for the user of a subscription (`subject`), and periods of it that are nobody's; `erasure`, what
-- is stored of a user or a purchase and is to be erased. A row points to the event that calls for it and goes when it is done.
create table outbox (
  id bigint generated always as identity,
  kind text collate "C" not null,
  aggregate_type text collate "C" not null,
  aggregate_id text collate "C" not null,
  sequence bigint not null,
  subject text collate "C",
  created_at timestamptz not null,
  constraint outbox_pkey primary key (id),
  constraint outbox_kind check (kind in ('match', 'subscription', 'erasure')),
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
-- Whose an address is or was.
create index personal_email on personal (lower(profile->>'email')) where profile->>'email' is not null;

-- The read models that exist, and which SQL they were built with.
create table read_models (
  name text collate "C" not null,
  version integer not null,
  digest text not null,
  built_at timestamptz not null,
  constraint read_models_pkey primary key (name)
);

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
