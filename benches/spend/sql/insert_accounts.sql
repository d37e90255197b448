-- $1 text[] users, $2 credits of each
insert into accounts (user_id, balance) select user_id, $2 from unnest($1::text[]) as user_id
