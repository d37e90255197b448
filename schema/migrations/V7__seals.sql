-- Messages name the table: events is not the only one that is append-only now.
create or replace function refuse_change() returns trigger language plpgsql as $$
begin
  raise exception '% is append-only: % refused', tg_table_name, tg_op using errcode = 'insufficient_privilege';
end $$;

-- What was sealed, when, and who signed it. Only ever grows.
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
