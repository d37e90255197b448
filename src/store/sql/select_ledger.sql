-- How this database was made, and whether this role may make types and functions of its session's own.
select shards, home_function, has_database_privilege(current_database(), 'TEMPORARY') as may_make_types from ledger
