-- A lane's session, which commits durably so far: each batch sets that for itself.
select set_config('credit_ledger.synchronous_commit', current_setting('synchronous_commit'), false);
-- What the session makes for itself, and takes away at its end, waits for no standby: while one is away each session that
-- was given up would stay, and so would all that are begun.
set synchronous_commit = local;
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
