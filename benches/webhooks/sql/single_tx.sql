-- What a careful hand would write for one transaction per webhook.
create table inbox (
  source text not null,
  key text not null,
  provider_event_id text not null,
  body bytea not null,
  received_at timestamptz not null,
  primary key (source, key)
);
create table payment_events (
  purchase_id text primary key,
  user_id text not null,
  amount_minor bigint not null,
  currency text not null,
  order_id text,
  credits bigint not null,
  paid_at_s bigint not null,
  recorded_at timestamptz not null
);
create index payment_events_user on payment_events (user_id, recorded_at);
create table balances (
  user_id text primary key,
  balance bigint not null check (balance >= 0)
) with (fillfactor = 70);
