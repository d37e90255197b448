-- The events of `batch` as the live statement of a read model takes them.
-- $5 whether with their payloads, those before it are of `batch`
select array(select row(shard, position, aggregate_id, sequence, event_type, case when $5 then payload::text end,
                        recorded_at, source, provider_event_id, profile::text, delta, balance, held, debt,
                        purchase_id)::pg_temp.batch_row
               from batch
              order by position)
