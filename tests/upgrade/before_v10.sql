-- Makes of a database what the release before V10 had: its key of streams, the homes that it wrote, its history.
begin;
alter table streams drop constraint streams_pkey,
  add constraint streams_pkey primary key (aggregate_id, aggregate_type, shard);
insert into homes (purchase_id, shard)
  select aggregate_id, shard from streams where aggregate_type = 'purchase' on conflict do nothing;
alter table inbox reset (toast_tuple_target);
delete from refinery_schema_history where version > 9;
commit;
