-- Work that follows a commit, and deliveries that are tried again.

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

alter table inbox add column waits_for text collate "C";
alter table inbox add column next_attempt_at timestamptz;
create index inbox_due on inbox (coalesce(next_attempt_at, received_at)) where outcome = 'parked';
create index inbox_waits_for on inbox (waits_for) where outcome = 'parked' and waits_for is not null;
