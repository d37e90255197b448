-- The SQL that made the live table of a read model, and whether that is there.
-- $1 text: the read model's name
select version, digest, to_regclass(format('public.%I', name)) is not null as there
  from read_models
 where name = $1
