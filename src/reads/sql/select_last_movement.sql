-- The last event of a user until a place in the stream that moved credits.
-- $1 text: user id
-- $2 bigint: the last sequence that counts
select e.sequence, e.payload::text as payload
  from (select user_id, sequence
          from entries
         where user_id = $1 and sequence <= $2
         order by sequence desc
         limit 1) as last
  join events e on e.aggregate_id = last.user_id and e.aggregate_type = 'user' and e.sequence = last.sequence
