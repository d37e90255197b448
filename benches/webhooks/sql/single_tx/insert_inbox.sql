-- $1 source, $2 key, $3 provider event id, $4 body, $5 time of receipt
insert into inbox (source, key, provider_event_id, body, received_at) values ($1, $2, $3, $4, $5)
on conflict do nothing
