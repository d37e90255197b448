-- What `pgbench` runs: one webhook without HTTP. Keys and ids are as long as real ones: a digest has 64 digits, a user
-- id 32 characters. `body` is given on its command line.
\set key random(1, 9223372036854775807)
\set user random(0, 99999)
begin;
insert into webhooks (key, body, received_at) values (rpad(:key, 64, '0'), :body, now());
insert into balances as known (user_id, balance) values ('user_3RkJ4' || lpad(:user, 22, '0'), 500) on conflict (user_id) do update set balance = known.balance + excluded.balance;
commit;
