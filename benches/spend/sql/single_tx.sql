-- What a careful hand would write for one transaction per spend.
create table accounts (
  user_id text primary key,
  balance bigint not null check (balance >= 0)
) with (fillfactor = 70);
create table spends (
  idempotency_key text primary key,
  user_id text not null,
  amount bigint not null,
  reason text,
  balance bigint not null,
  recorded_at timestamptz not null
);
