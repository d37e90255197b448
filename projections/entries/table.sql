-- The statement that a user reads: every movement of credits with the balance after it.
create table entries (
  user_id text collate "C" not null,
  sequence bigint not null,
  shard smallint not null,
  position bigint not null,
  type text collate "C" not null,
  delta bigint not null,
  balance bigint not null,
  purchase_id text collate "C",
  source text collate "C" not null,
  provider_event_id text collate "C",
  recorded_at timestamptz not null,
  slices jsonb, -- the lots that it took from or gave back to
  about text collate "C", -- the entry that it reverses, or the hold that it ends
  reason text,
  reference text,
  constraint entries_pkey primary key (user_id, sequence)
);
