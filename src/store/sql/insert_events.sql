-- Appends to the log.
-- $1 text[] aggregate types, $2 text[] aggregate ids, $3 bigint[] sequences, $4 text[] event types, $5 text[] event
-- versions, $6 text[] payloads, $7 text[] metadata, $8 smallint[] shards, $9 bigint[] positions, $10 timestamptz[]
-- times, $11 text[] sources, $12 text[] provider event ids, $13 bytea[] hashes
insert into events (aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata, shard,
                    position, recorded_at, source, provider_event_id, hash)
select aggregate_type, aggregate_id, sequence, event_type, event_version, payload::json, metadata::json, shard,
       position, recorded_at, source, provider_event_id, hash
  from unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[], $8::smallint[],
              $9::bigint[], $10::timestamptz[], $11::text[], $12::text[], $13::bytea[])
       as item(aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata, shard, position,
              recorded_at, source, provider_event_id, hash)
