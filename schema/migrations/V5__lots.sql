-- Lots, holds, and when a user's state changes by itself.

alter table streams add column due_at_s bigint;
create index streams_due on streams (due_at_s) where due_at_s is not null;

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

create table holds (
  shard smallint not null,
  position bigint not null,
  user_id text collate "C" not null,
  times_out_at_s bigint not null,
  constraint holds_pkey primary key (position, shard)
);
create index holds_due on holds (user_id, times_out_at_s);

create table settlements (
  shard smallint not null,
  position bigint not null,
  settlement text collate "C" not null,
  constraint settlements_pkey primary key (position, shard),
  constraint settlements_settlement check (settlement in ('captured', 'released', 'timed out', 'reversed'))
);
