-- Forgets newly proven addresses that pay for nothing: no purchase without a user was paid with them, or they were erased.
-- One that is stored later leaves a row of its own, which is looked at after its own commit.
-- $1 bigint: at most so many are looked at, the oldest
-- Locks: the rows that go. Whoever looked at the same ones finds them gone.
-- Keys are collected first and each is looked up on its own: so the plan does not depend on how big the tables were.
delete from outbox
 where id = any(array(
   select called.id
     from (select id, aggregate_type, aggregate_id, sequence
             from outbox
            where kind = 'match' and aggregate_type = 'user'
            order by id
            limit $1) as called
    where (select true
             from personal w
             join purchases p on lower(p.payer_email) = lower(btrim(w.profile->>'email')) and p.payer_email is not null
            where w.aggregate_id = called.aggregate_id and w.aggregate_type = called.aggregate_type
              and w.sequence = called.sequence
            limit 1) is null))
returning id
