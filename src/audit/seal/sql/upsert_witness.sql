-- Notes the last seal that a witness was told; never an earlier one.
-- $1 text: which witness
-- $2 bigint: the seal
-- Locks: its row.
insert into witnesses (name, seal)
values ($1, $2)
on conflict (name) do update set seal = excluded.seal where witnesses.seal < excluded.seal
