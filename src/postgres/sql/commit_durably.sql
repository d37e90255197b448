-- What this session commits is durable, and synchronous standbys have it, before it is known: a default of `off` or
-- `local` is overruled; stronger settings stay. Within a transaction it holds for that one, too.
select set_config('synchronous_commit', 'on', false)
 where current_setting('synchronous_commit') in ('off', 'local')
