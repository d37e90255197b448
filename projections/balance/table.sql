-- What each user has now: one row per user who ever had credits.
create table balance (
  user_id text collate "C" not null,
  balance bigint not null,
  held bigint not null,
  debt bigint not null,
  version bigint not null,
  constraint balance_pkey primary key (user_id),
  constraint balance_amounts check (balance >= 0 and held between 0 and balance and debt >= 0)
) with (fillfactor = 70);
