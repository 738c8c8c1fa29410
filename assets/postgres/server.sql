-- Once per server: is the administrator able, the roles for all databases, the server's own databases closed.
-- Variables: backup, monitor (role names), with_monitor.
\ir lock.sql

DO $$
DECLARE
    version int := current_setting('server_version_num')::int;
    me pg_roles := (SELECT r FROM pg_roles r WHERE r.rolname = current_user);
    missing text[] := '{}';
BEGIN
    IF version < 150000 THEN
        RAISE EXCEPTION 'PostgreSQL 15 or newer is needed (views with security_invoker), this is %',
            current_setting('server_version');
    END IF;
    IF me.rolsuper THEN
        RETURN;
    END IF;
    -- A managed server's administrator. Event triggers are the provider's choice and only show when tried.
    IF NOT me.rolcreaterole THEN missing := missing || 'CREATEROLE'::text; END IF;
    IF NOT me.rolcreatedb THEN missing := missing || 'CREATEDB'::text; END IF;
    IF version < 160000 THEN
        missing := missing || 'SUPERUSER (before PostgreSQL 16 only a superuser makes a role with BYPASSRLS)'::text;
    ELSIF NOT me.rolbypassrls THEN
        missing := missing || 'BYPASSRLS (only a role that has it can give it to the backup role)'::text;
    END IF;
    IF NOT pg_has_role('pg_read_all_data', 'USAGE WITH ADMIN OPTION') THEN
        missing := missing || 'pg_read_all_data WITH ADMIN OPTION (the backup role needs it)'::text;
    END IF;
    IF missing <> '{}' THEN
        RAISE EXCEPTION 'the administrator % lacks: %', current_user, array_to_string(missing, ', ');
    END IF;
END
$$;

-- The backup role reads every row: a dump made through row-level security is either refused or incomplete.
\set role :backup
\set login true
\set bypassrls true
\set inherit true
\set member_of pg_read_all_data
\ir role.sql

\if :with_monitor
    \set role :monitor
    \set bypassrls false
    \set member_of pg_monitor
    \ir role.sql
\endif

-- The server's own databases are no meeting place. One the administrator doesn't own is the provider's.
SELECT format('REVOKE ALL ON DATABASE %I FROM PUBLIC', datname)
FROM pg_database
WHERE datname IN ('postgres', 'template1', current_database()) AND pg_has_role(datdba, 'USAGE')
\gexec

SELECT format('GRANT CONNECT ON DATABASE %I TO %I', datname, rolname)
FROM pg_database, pg_roles
WHERE datname = current_database() AND pg_has_role(datdba, 'USAGE') AND rolname IN (:'backup', :'monitor')
\gexec
