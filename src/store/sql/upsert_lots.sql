-- Lots behind the front, as they are after a batch.
-- $1 text[] users, $2 bigint[] lots, $3 smallint[] shards, $4 text[] kinds, $5 smallint[] priorities, $6 bigint[] ends,
-- $7 text[] purchases, $8 bigint[] amounts, $9 bigint[] remaining, $10 bigint[] contested, $11 bigint[] expired,
-- $12 bigint[] counted
-- Locks: the rows, which only who holds the lock of their shard writes.
insert into lots as known (user_id, lot, shard, kind, priority, expires_at_s, purchase_id, amount, remaining, contested,
                           expired, counted)
select user_id, lot, shard, kind, priority, expires_at_s, purchase_id, amount, remaining, contested, expired, counted
  from unnest($1::text[], $2::bigint[], $3::smallint[], $4::text[], $5::smallint[], $6::bigint[], $7::text[],
              $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[])
       as item(user_id, lot, shard, kind, priority, expires_at_s, purchase_id, amount, remaining, contested, expired,
               counted)
    on conflict (user_id, lot, shard) do update
   set remaining = excluded.remaining, contested = excluded.contested, expired = excluded.expired,
       counted = excluded.counted
