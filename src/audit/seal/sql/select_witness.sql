-- The last seal that a witness was told. No row: none yet.
-- $1 text: which witness
select seal from witnesses where name = $1
