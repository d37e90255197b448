-- What a webhook is at the very least: the raw delivery, and a balance. The tables of (c) and (d).
create table webhooks (
  key text collate "C" primary key,
  body text not null,
  received_at timestamptz not null
);
create table balances (
  user_id text collate "C" primary key,
  balance bigint not null
) with (fillfactor = 70);
