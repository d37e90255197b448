-- A lane's session. All of its statements look up keys, so plans are pinned to the indexes: a plan made while a table
-- was small must not stay when it is big, and none is made anew for each batch.
set plan_cache_mode = force_generic_plan;
set enable_seqscan = off;
set enable_bitmapscan = off;
set enable_hashjoin = off;
set enable_mergejoin = off;
set jit = off;
-- An answer says that the commit is durable: a default that gives that up must not hold here. Stronger ones stay.
select set_config('synchronous_commit', 'on', false) where current_setting('synchronous_commit') = 'off';
