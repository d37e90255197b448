-- How this database was made.
select shards, home_function from ledger
