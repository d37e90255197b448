-- What each user has.
-- $1 text: only this user; null: all
select user_id, balance, held, debt, version
  from balance
 where $1::text is null or user_id = $1
 order by user_id
