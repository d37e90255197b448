-- Lots behind those that burn next.
-- $1 text: only this user's; null: all
select user_id, lot, shard, kind, priority, expires_at_s, purchase_id, amount, remaining, contested, expired, counted
  from lots
 where $1::text is null or user_id = $1
 order by user_id, lot, shard
