-- A user's account after the last event, and when it changes by itself.
-- $1 text: user id
select b.balance, b.held, b.debt, b.version, s.due_at_s
  from balance b
  left join streams s on s.aggregate_id = b.user_id and s.aggregate_type = 'user'
 where b.user_id = $1
