-- Takes the turn of a lane until the transaction ends. Gives whether it had to be waited for.
-- $1 integer: the lane's number
-- Locks: the advisory lock of this number; before any row. 1818324581 is "lane".
select case when pg_try_advisory_xact_lock(1818324581, $1) then false
            else pg_advisory_xact_lock(1818324581, $1)::text is not null end
