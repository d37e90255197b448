-- Personal data that is not what an event has the digest of; that is there and should be erased, or the other way round.
-- Never says what it is.
-- Gives `missing` (there is no such row), shard, position, stream, what.
select p.aggregate_id is null as missing, e.shard, e.position,
       coalesce(e.aggregate_type, p.aggregate_type) || '/' || coalesce(e.aggregate_id, p.aggregate_id) as stream,
       case when p.aggregate_id is null then 'personal: what the event has the digest of is not there, and was not erased'
            when e.digest is null then 'personal: no event ' || p.sequence || ' has a digest for what is there'
            when erased.since is not null then 'personal: what the history says is erased is still there'
            else 'personal: what is there is not what the event has the digest of' end as what
  from (select aggregate_type, aggregate_id, sequence, shard, position,
               coalesce(payload->'profile'->>'digest', payload->>'payer') as digest
          from events
         where event_type in ('UserRegistered', 'UserProfileChanged', 'PaymentCaptured', 'PayerNamed')
           and coalesce(payload->'profile'->>'digest', payload->>'payer') is not null) as e
  full join personal p
    on p.aggregate_type = e.aggregate_type and p.aggregate_id = e.aggregate_id and p.sequence = e.sequence
  left join (select aggregate_type, aggregate_id, max(sequence) as since
               from events
              where event_type in ('UserErased', 'PayerErased')
              group by aggregate_type, aggregate_id) as erased
    on erased.aggregate_type = coalesce(e.aggregate_type, p.aggregate_type)
   and erased.aggregate_id = coalesce(e.aggregate_id, p.aggregate_id)
 where case when p.aggregate_id is null then erased.since is null
            else e.digest is null or erased.since > p.sequence
              or e.digest is distinct from encode(sha256(p.salt || convert_to(p.profile::text, 'UTF8')), 'hex') end
 order by stream, e.position
