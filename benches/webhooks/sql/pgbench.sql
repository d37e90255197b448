-- What `pgbench` runs: one webhook without HTTP. `body` is given on its command line.
\set key random(1, 9223372036854775807)
\set user random(0, 99999)
begin;
insert into webhooks (key, body, received_at) values (:key, :body, now());
insert into balances as known (user_id, balance) values (:user, 500) on conflict (user_id) do update set balance = known.balance + excluded.balance;
commit;
