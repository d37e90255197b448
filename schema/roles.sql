-- The three roles, for a server that the dump of a ledger is to be restored to: a dump names them as the owner of the
-- tables and as those who have rights to them, but does not make them. Run it in the new, empty database, as the login
-- that the service will have: `psql --file=schema/roles.sql`. May be run again. The service itself needs none of this.
do $$
declare
  role text;
begin
  foreach role in array array['credit_ledger_owner', 'credit_ledger_app', 'credit_ledger_auditor'] loop
    if not exists (select from pg_roles where rolname = role) then
      execute format('create role %I nologin', role);
    end if;
    if not pg_has_role(role,
        case when current_setting('server_version_num')::integer >= 160000 then 'SET' else 'MEMBER' end) then
      execute format('grant %I to current_user', role);
    end if;
  end loop;
end
$$;
grant usage, create on schema public to credit_ledger_owner;
