-- May this login act as the three roles, and who owns the tables?  |  no parameters  |  one row, locks nothing
-- caller: roles.rs.  Since version 16 a membership may be without the right to SET ROLE.
select
    (select count(*) = 3
            and bool_and(pg_has_role(session_user, role.oid,
                case when current_setting('server_version_num')::integer >= 160000 then 'SET' else 'MEMBER' end))
       from pg_roles as role
      where role.rolname in ('credit_ledger_owner', 'credit_ledger_app', 'credit_ledger_auditor')
    ) as can_act,
    (select pg_get_userbyid(history.relowner)::text
       from pg_class as history
      where history.oid = to_regclass('public.refinery_schema_history')
    ) as tables_owner,
    session_user::text as login;
