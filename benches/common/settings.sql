-- What of the server's settings decides how fast a commit is.
select name, case unit when '8kB' then pg_size_pretty(setting::bigint * 8192)
                       when 'MB' then pg_size_pretty(setting::bigint * 1048576)
                       else setting || coalesce(' ' || unit, '') end as value
  from pg_settings
 where name in ('server_version', 'fsync', 'synchronous_commit', 'full_page_writes', 'wal_sync_method',
                'shared_buffers', 'max_wal_size', 'commit_delay', 'commit_siblings', 'data_checksums')
 order by name
