-- Appends to the log.
-- $1 event_row[]
insert into events (aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata, shard,
                    position, recorded_at, source, provider_event_id, hash)
select aggregate_type, aggregate_id, sequence, event_type, event_version, payload::json, metadata::json, shard,
       position, recorded_at, source, provider_event_id, hash
  from unnest($1::pg_temp.event_row[])
