-- Lots behind the front, as they are after a batch.
-- $1 lot_row[]
-- Locks: the rows, which only who holds the lock of their shard writes.
insert into lots as known (user_id, lot, shard, kind, priority, expires_at_s, purchase_id, amount, remaining, contested,
                           expired, counted)
select user_id, lot, shard, kind, priority, expires_at_s, purchase_id, amount, remaining, contested, expired, counted
  from unnest($1::pg_temp.lot_row[])
    on conflict (user_id, lot, shard) do update
   set remaining = excluded.remaining, contested = excluded.contested, expired = excluded.expired,
       counted = excluded.counted
