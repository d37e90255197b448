-- A stream is in one shard of the database, whoever begins it: what `homes` was for, with a row and an index entry less for
-- each purchase. `homes` stays for instances of the release before, which write it, and goes with the next release.

alter table streams drop constraint streams_pkey, add constraint streams_pkey primary key (aggregate_id, aggregate_type);
