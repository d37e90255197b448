-- Who may do what with the tables of schema public.  |  no parameters  |  run as credit_ledger_owner
-- callers: after the migrations, and after a rebuild has put a new table in place (in its transaction).
-- Says only what is not yet so: a GRANT that changes nothing still rewrites the table's catalogue row, and two such
-- writers at once fail. Tables that are not the owner's (of extensions) are left alone.
--
--   events (and its partitions)  app: select, insert                    auditor: select
--   refinery_schema_history      app: select                            auditor: select
--   ledger, read_models          app: select                            auditor: select
--   heads                        app: select, update                    auditor: select
--   homes, requests, settlements,
--   seals                        app: select, insert                    auditor: select
--   personal, outbox, holds      app: select, insert, delete            auditor: select
--   lots                         app: select, insert, update, delete    auditor: select
--   api_keys                     app: select
--   every other table            app: select, insert, update            auditor: select
--   views                        app: select                            auditor: select
--   sequences                    app: usage
do $$
declare
    command text;
begin
    for command in
        with relation as (
            select
                class.oid,
                format('%I.%I', namespace.nspname, class.relname) as name,
                class.relkind,
                coalesce(pg_partition_root(class.oid), class.oid::regclass)
                    is not distinct from to_regclass('public.events') as is_log,
                class.relname::text as relname
            from pg_class as class
            join pg_namespace as namespace on namespace.oid = class.relnamespace
            where namespace.nspname = 'public'
              and class.relkind in ('r', 'p', 'v', 'm', 'S')
              and class.relowner = (select oid from pg_roles where rolname = current_user)
        ),
        rule as (
            select oid, name, grantee, privilege,
                case
                    when relname = 'api_keys' then grantee = 'credit_ledger_app' and privilege = 'SELECT'
                    when privilege = 'SELECT' then true
                    when grantee = 'credit_ledger_auditor' or relkind not in ('r', 'p') then false
                    when relname in ('refinery_schema_history', 'ledger', 'read_models') then false
                    when relname = 'heads' then privilege = 'UPDATE'
                    when is_log or relname in ('homes', 'requests', 'settlements', 'seals') then privilege = 'INSERT'
                    when relname in ('personal', 'outbox', 'holds') then privilege in ('INSERT', 'DELETE')
                    when relname = 'lots' then privilege in ('INSERT', 'UPDATE', 'DELETE')
                    else privilege in ('INSERT', 'UPDATE')
                end as allowed
            from relation,
                unnest(array['credit_ledger_app', 'credit_ledger_auditor']) as grantee,
                unnest(array['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE']) as privilege
            where relkind <> 'S'
        )
        select format(
            case when allowed then 'grant %s on table %s to %I' else 'revoke %s on table %s from %I' end,
            privilege, name, grantee)
        from rule
        where has_table_privilege(grantee, oid, privilege) <> allowed
        union all
        select format('grant usage on sequence %s to credit_ledger_app', name)
        from relation
        -- case, because has_sequence_privilege fails on other relations, and `and` promises no order.
        where case when relkind = 'S' then not has_sequence_privilege('credit_ledger_app', oid, 'USAGE') end
    loop
        execute command;
    end loop;
end
$$;
