-- The events of a user behind one of them that moved credits.
-- $1 text: user id
-- $2 bigint: its sequence
-- $3 bigint: at most so many
select n.sequence, e.payload::text as payload
  from (select user_id, sequence
          from entries
         where user_id = $1 and sequence > $2
         order by sequence
         limit $3) as n
  join events e on e.aggregate_id = n.user_id and e.aggregate_type = 'user' and e.sequence = n.sequence
 order by n.sequence
