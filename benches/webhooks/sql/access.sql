-- Where the server's programs and its socket are, and who we are on it.
select (select setting from pg_config where name = 'BINDIR') as bin_dir,
       current_setting('unix_socket_directories') as socket_dir,
       current_setting('port') as port,
       current_user::text as user_name
