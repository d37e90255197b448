-- How much is to be looked at after commits, counted up to a number.
-- $1 bigint: where counting ends
select count(*) as waiting from (select from outbox limit $1) as counted
