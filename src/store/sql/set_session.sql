-- A lane's session.
-- An answer follows a durable commit: a default of `off` is overruled; stronger settings stay.
select set_config('synchronous_commit', 'on', false) where current_setting('synchronous_commit') = 'off';
-- A server's default would be for a whole round trip, waits for locks and all, and could cut a commit.
set statement_timeout = 0;
-- All of its statements look up keys, so plans are pinned to the indexes: a plan made while a table was small must not
-- stay when it is big, and none is made anew for each batch.
set plan_cache_mode = force_generic_plan;
set enable_seqscan = off;
set enable_bitmapscan = off;
set enable_hashjoin = off;
set enable_mergejoin = off;
set jit = off;
