-- Forgets addresses, newly proven or given up, that pay for nothing: no purchase without a user was paid with them, or they
-- were erased.
-- One that is stored later leaves a row of its own, which is looked at after its own commit. Gives those that may pay.
-- $1 bigint[]: ids of rows that came of users
-- Locks: the rows that go. Whoever looked at the same ones finds them gone.
-- Each is looked up on its own, so the plan does not depend on how big the tables were.
with looked as materialized (
  select o.id,
         (select true
            from personal w
            join purchases p on lower(p.payer_email) = lower(btrim(w.profile->>'email')) and p.payer_email is not null
           where w.aggregate_id = o.aggregate_id and w.aggregate_type = o.aggregate_type and w.sequence <= o.sequence
           limit 1) is not null as may_pay
    from outbox o
   where o.id = any($1)
), forgotten as (
  delete from outbox where id = any(array(select id from looked where not may_pay))
)
select id from looked where may_pay
