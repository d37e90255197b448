-- What a lane's session hands in and gets back: one type for each kind of row, so that a batch is a few arrays of rows
-- and not a hundred arrays of columns. They live and end with the session: a release beside another has its own.
-- Read by both sides by the names of the fields.
create type pg_temp.delivery_key as (source text collate "C", key text collate "C");
create type pg_temp.request_key as (principal text collate "C", idempotency_key text collate "C");
create type pg_temp.stream_key as (aggregate_type text collate "C", aggregate_id text collate "C");

create type pg_temp.head_row as (shard smallint, position bigint, hash bytea, recorded_at timestamptz);
create type pg_temp.tried_row as (source text, key text, outcome text, attempts integer, next_attempt_at timestamptz);
create type pg_temp.answered_row as (
  principal text, idempotency_key text, digest bytea, fields text, status smallint, body text);
create type pg_temp.found_row as (aggregate_type text, aggregate_id text, shard smallint, version bigint, state text);

create type pg_temp.inbox_row as (
  source text collate "C", key text collate "C", provider_event_id text, body bytea, body_sha256 bytea, headers text,
  secret text, received_at timestamptz, outcome text, reason text, shards smallint[], positions bigint[], waits_for text,
  next_attempt_at timestamptz, erased_at timestamptz);
create type pg_temp.seen_row as (source text collate "C", key text collate "C", more integer);
create type pg_temp.retried_row as (
  source text collate "C", key text collate "C", outcome text, reason text, shards smallint[], positions bigint[],
  waits_for text, next_attempt_at timestamptz, erased_at timestamptz);
create type pg_temp.request_row as (
  principal text collate "C", idempotency_key text collate "C", digest bytea, fields text, status smallint, body text,
  recorded_at timestamptz);
-- What the log keeps of an event, then what read models are given besides: how it moved credits, and as the bits of
-- `models` which of them it concerns.
create type pg_temp.event_row as (
  aggregate_type text, aggregate_id text collate "C", sequence bigint, event_type text, event_version text, payload text,
  metadata text, shard smallint, position bigint, recorded_at timestamptz, source text, provider_event_id text,
  hash bytea, profile text, delta bigint, balance bigint, held bigint, debt bigint, purchase_id text, models integer);
create type pg_temp.personal_row as (
  aggregate_type text, aggregate_id text, sequence bigint, salt bytea, profile text);
create type pg_temp.erased_row as (aggregate_type text collate "C", aggregate_id text collate "C", sequence bigint);
create type pg_temp.outbox_row as (
  kind text, aggregate_type text, aggregate_id text, sequence bigint, subject text, created_at timestamptz);
create type pg_temp.stream_row as (
  aggregate_type text collate "C", aggregate_id text collate "C", shard smallint, version bigint, state text,
  due_at_s bigint);
create type pg_temp.lot_row as (
  user_id text, lot bigint, shard smallint, kind text, priority smallint, expires_at_s bigint, purchase_id text,
  amount bigint, remaining bigint, contested bigint, expired bigint, counted bigint);
create type pg_temp.lot_key as (user_id text collate "C", lot bigint);
create type pg_temp.hold_row as (shard smallint, position bigint, user_id text, times_out_at_s bigint);
create type pg_temp.settlement_row as (shard smallint, position bigint, settlement text);
