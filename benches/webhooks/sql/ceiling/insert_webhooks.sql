-- $1 keys, $2 bodies
insert into webhooks (key, body, received_at)
select key, body, now() from unnest($1::text[], $2::text[]) as t (key, body)
