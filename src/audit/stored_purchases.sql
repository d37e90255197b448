-- Everything that is stored about purchases beside their events, as text. The time of recording is compared with the
-- log here, because postgres-es does not hand that column out.
-- $1 text[]: only these purchases; null: all. Planned anew for each value, so that either way takes its best plan.
select coalesce(s.aggregate_id, p.purchase_id) as id,
       s.state::text as state,
       null::text as lots,
       s.version::text as "stream version",
       'true' as "stream without holes",
       p.user_id as "user",
       p.status,
       p.amount_minor::text as amount,
       p.currency,
       p.order_id as "order",
       p.sku,
       coalesce(p.credits, 0)::text as credits,
       coalesce(p.refunded_minor, 0)::text as refunded,
       coalesce(p.disputed_minor, 0)::text as disputed,
       coalesce(p.lost_minor, 0)::text as lost,
       coalesce(p.standing_sequence, 0)::text as "sequence of the standing",
       p.subscription_id as subscription,
       coalesce(p.payer_erased, false)::text as "payer erased",
       p.part_of as "part of",
       trim_scale(extract(epoch from p.paid_at))::text as "time of payment",
       case when p.recorded_at = p.logged_at then 'as logged' else p.recorded_at::text end as "time of recording"
  from (select aggregate_id, version, state
          from streams
         where aggregate_type = 'purchase' and ($1::text[] is null or aggregate_id = any($1))) as s
  full join (select purchases.*,
                    (select min(recorded_at)
                       from events
                      where aggregate_type = 'purchase' and aggregate_id = purchase_id) as logged_at
               from purchases
              where $1::text[] is null or purchase_id = any($1)) as p
         on p.purchase_id = s.aggregate_id
