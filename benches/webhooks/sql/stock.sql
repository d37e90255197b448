-- The tables of stock postgres-es 0.5.0, as its db/init.sql makes them, and two views.
create table events (
  aggregate_type text not null,
  aggregate_id text not null,
  sequence bigint check (sequence >= 0) not null,
  event_type text not null,
  event_version text not null,
  payload json not null,
  metadata json not null,
  primary key (aggregate_type, aggregate_id, sequence)
);
create table balance_view (
  view_id text not null,
  version bigint check (version >= 0) not null,
  payload json not null,
  primary key (view_id)
);
create table purchase_view (
  view_id text not null,
  version bigint check (version >= 0) not null,
  payload json not null,
  primary key (view_id)
);
