-- Every payment that was captured. No user: unclaimed. No sku: unpriced.
create table purchases (
  purchase_id text collate "C" not null,
  user_id text collate "C",
  status text collate "C" not null,
  amount_minor bigint not null,
  currency text collate "C" not null,
  order_id text collate "C",
  sku text collate "C",
  credits bigint not null,
  paid_at timestamptz not null,
  recorded_at timestamptz not null,
  constraint purchases_pkey primary key (purchase_id)
) with (fillfactor = 90);
create index purchases_user on purchases (user_id, recorded_at, purchase_id);
-- What an operator has to look at; few rows are in them.
create index purchases_unclaimed on purchases (recorded_at, purchase_id) where user_id is null;
create index purchases_unpriced on purchases (recorded_at, purchase_id) where sku is null;
