-- Every payment of which anything is known. No user: unclaimed. No sku: unpriced. The amount, the currency and the time of
-- payment are there once it was captured.
create table purchases (
  purchase_id text collate "C" not null,
  user_id text collate "C",
  captured boolean not null,
  amount_minor bigint,
  currency text collate "C",
  order_id text collate "C",
  sku text collate "C",
  credits bigint not null,
  subscription_id text collate "C",
  -- Only while nobody knows whose the purchase is.
  payer_email text,
  -- The release before writes beside us and does not know it.
  payer_erased boolean not null default false,
  refunded_minor bigint not null,
  disputed_minor bigint not null,
  lost_minor bigint not null,
  standing_sequence bigint not null,
  part_of text collate "C",
  status text collate "C" not null generated always as (
    case when part_of is not null then 'merged'
         when not captured then 'uncaptured'
         when amount_minor > 0 and lost_minor >= amount_minor then 'lost'
         when amount_minor > 0 and refunded_minor + lost_minor >= amount_minor then 'refunded'
         when disputed_minor > 0 then 'disputed'
         when refunded_minor + lost_minor > 0 then 'partially_refunded'
         else 'captured' end) stored,
  paid_at timestamptz,
  recorded_at timestamptz not null,
  constraint purchases_pkey primary key (purchase_id)
) with (fillfactor = 90);
-- A user's purchases.
create index purchases_user on purchases (user_id, recorded_at, purchase_id);
-- What an operator has to look at; few rows are in them.
create index purchases_unclaimed on purchases (recorded_at, purchase_id)
  where user_id is null and captured and part_of is null;
create index purchases_unpriced on purchases (recorded_at, purchase_id)
  where sku is null and captured and part_of is null;
create index purchases_payer on purchases (lower(payer_email)) where payer_email is not null;
create index purchases_subscription on purchases (subscription_id) where subscription_id is not null;
