-- $1 user, $2 credits. No row: there are too few.
update accounts set balance = balance - $2 where user_id = $1 and balance >= $2 returning balance
