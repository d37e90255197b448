-- A user's account.
-- $1 text: user id
select balance, held, debt, version from balance where user_id = $1
