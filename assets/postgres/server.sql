-- Once per server: is the administrator able, the roles for all databases, the server's own databases closed.
-- Variables: backup, monitor (role names), with_monitor.
-- Here and in the other files a row that goes to \gexec is a command and then the line that tells of it.
\ir lock.sql

DO $$
BEGIN
    IF current_setting('server_version_num')::int < 150000 THEN
        RAISE EXCEPTION 'PostgreSQL 15 or newer is needed (views with security_invoker), this is %',
            current_setting('server_version');
    ELSIF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
        RAISE EXCEPTION 'the administrator % is no superuser: an event trigger needs one', current_user;
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

-- The server's own databases are no meeting place.
SELECT format('REVOKE ALL ON DATABASE %I FROM PUBLIC', datname),
    format('SELECT %L', format('database %s: closed to PUBLIC', datname))
FROM pg_database
WHERE datname IN ('postgres', 'template1', current_database())
    AND EXISTS (SELECT FROM aclexplode(coalesce(datacl, acldefault('d', datdba))) WHERE grantee = 0)
ORDER BY datname
\gexec

-- pg_dumpall connects to postgres and dumps template1; an exporter begins in postgres. So do others that keep a server
-- going: a lost primary logs in there before it comes back as a replica (pg_rewind), and an operator watches from there.
SELECT format('GRANT CONNECT ON DATABASE %I TO %I', datname, rolname),
    format('SELECT %L', format('database %s: %s may connect', datname, rolname))
FROM pg_database, pg_roles
WHERE NOT has_database_privilege(rolname, datname, 'CONNECT')
    AND (rolname = :'backup' AND datname IN ('postgres', 'template1', current_database())
        OR rolname = :'monitor' AND datname IN ('postgres', current_database())
        OR rolcanlogin AND (rolreplication OR pg_has_role(rolname, 'pg_monitor', 'MEMBER')) AND datname = 'postgres')
ORDER BY datname, rolname
\gexec
