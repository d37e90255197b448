-- The events of `batch` as the live statement of a read model takes them; what only the log keeps of them is left out.
-- $5 integer: the bits of the read models that they concern; the parameters before it are those of `batch`
select array(select row('', aggregate_id, sequence, event_type, '', payload::text, '', shard, position, recorded_at,
                        source, provider_event_id, '', profile::text, delta, balance, held, debt, purchase_id,
                        $5::integer)::pg_temp.event_row
               from batch
              order by position)
