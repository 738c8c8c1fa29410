-- Once per server: check the administrator's privileges and the number of connections, create the roles for all
-- databases, and close the server's own databases. Variables: backup, monitor, archive (role names), with_monitor,
-- with_archive, backup_connections, monitor_connections, services_connections (all that application and migrator roles may open),
-- require_connections (whether to refuse a server with fewer). Here and in the other files, a row for \gexec is a
-- command followed by its report.
\ir lock.sql

DO $$
BEGIN
    IF current_setting('server_version_num')::int < 150000 THEN
        RAISE EXCEPTION 'PostgreSQL 15 or newer is needed (views with security_invoker), this is %',
            current_setting('server_version');
    ELSIF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
        RAISE EXCEPTION 'the administrator % is not a superuser, which the event trigger requires', current_user;
    END IF;
END
$$;

-- Services can't use reserved connections. The monitor and the backup role may use them (member_of below) if the server
-- supports that: PostgreSQL 16 or newer.
SELECT :services_connections + greatest(others - reserved, 0) > free AS too_few,
    :services_connections + others AS wanted, free + reserved AS found
FROM (
    SELECT :backup_connections + CASE WHEN :with_monitor THEN :monitor_connections ELSE 0 END AS others, reserved,
        current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int - reserved
            AS free
    FROM (SELECT coalesce(current_setting('reserved_connections', true), '0')::int AS reserved) AS own
) AS server
\gset
\if :require_connections
    \if :too_few
        \warn the services, the monitor and the backup may open :wanted connections, and the server has :found for them
        \warn raise its max_connections, or lower services.databasePoolMax or the number of replicas
        DO $$ BEGIN RAISE EXCEPTION 'too few connections'; END $$;
    \endif
\endif

-- The backup role reads every row: with row-level security, a dump is either refused or incomplete. It has no time
-- limits; pg_dump also disables them for itself.
\set role :backup
\set login true
\set bypassrls true
\set inherit true
\set connections :backup_connections
\set timeouts 'lock_timeout=1min idle_in_transaction_session_timeout=10min'
\set member_of 'pg_read_all_data pg_use_reserved_connections'
\ir role.sql

\if :with_monitor
    \set role :monitor
    \set bypassrls false
    \set connections :monitor_connections
    \set timeouts 'statement_timeout=10s lock_timeout=2s idle_in_transaction_session_timeout=10s'
    \set timeouts :timeouts ' transaction_timeout=30s'
    \set member_of 'pg_monitor pg_use_reserved_connections'
    \ir role.sql
\endif

-- The archive role copies the server's files, but reads no table. A replication slot without a receiver would keep WAL.
\if :with_archive
    \set role :archive
    \set replication true
    \set bypassrls false
    \set connections 5
    \set timeouts 'statement_timeout=1min lock_timeout=10s idle_in_transaction_session_timeout=10s'
    \set member_of 'pg_read_all_stats pg_use_reserved_connections'
    \ir role.sql
\else
    SELECT format('ALTER ROLE %I NOLOGIN', rolname),
        format('SELECT %L', format('role %s: may no longer log in, without backups.pointInTime', rolname))
    FROM pg_roles WHERE rolname = :'archive' AND rolcanlogin
    \gexec
    -- One after the other: a slot that is in use can't be dropped, and the receiver can no longer log in.
    SELECT format('SELECT pg_terminate_backend(%s, 10000)', coalesce(active_pid::text, 'NULL')),
        format('SELECT pg_drop_replication_slot(%L)', slot_name),
        format('SELECT %L', format('replication slot %s: dropped, without backups.pointInTime', slot_name))
    FROM pg_replication_slots WHERE slot_name = :'archive'
    \gexec
\endif

-- Services can't use the server's own databases.
SELECT format('REVOKE ALL ON DATABASE %I FROM PUBLIC', datname),
    format('SELECT %L', format('database %s: closed to PUBLIC', datname))
FROM pg_database
WHERE datname IN ('postgres', 'template1', current_database())
    AND EXISTS (SELECT FROM aclexplode(coalesce(datacl, acldefault('d', datdba))) WHERE grantee = 0)
ORDER BY datname
\gexec

-- pg_dumpall connects to postgres and dumps template1; an exporter connects to postgres first. Other system clients do
-- so too: a lost primary connects there before it becomes a replica (pg_rewind), and an operator checks the server from
-- there.
SELECT format('GRANT CONNECT ON DATABASE %I TO %I', datname, rolname),
    format('SELECT %L', format('database %s: %s may connect', datname, rolname))
FROM pg_database, pg_roles
WHERE NOT has_database_privilege(rolname, datname, 'CONNECT')
    AND (rolname = :'backup' AND datname IN ('postgres', 'template1', current_database())
        OR rolname = :'monitor' AND datname IN ('postgres', current_database())
        OR rolcanlogin AND (rolreplication OR pg_has_role(rolname, 'pg_monitor', 'MEMBER')) AND datname = 'postgres')
ORDER BY datname, rolname
\gexec

-- When each database was last backed up, its last restore drill and its last audit: the backup role records them, and the
-- monitor reads them. These are the only tables that the backup role can write to. The archive role writes the state of
-- the archive.
CREATE SCHEMA IF NOT EXISTS backups;
SELECT 'CREATE TABLE backups.last_success (database name PRIMARY KEY, snapshot_at timestamptz NOT NULL)',
    format('SELECT %L', 'server: table backups.last_success created')
WHERE to_regclass('backups.last_success') IS NULL
\gexec
SELECT 'CREATE TABLE backups.last_drill (database name PRIMARY KEY, backup text NOT NULL, ended_at timestamptz NOT NULL,'
        ' problems int NOT NULL, succeeded_at timestamptz)',
    format('SELECT %L', 'server: table backups.last_drill created')
WHERE to_regclass('backups.last_drill') IS NULL
\gexec
CREATE SCHEMA IF NOT EXISTS tenants;
SELECT 'CREATE TABLE tenants.last_audit (database name PRIMARY KEY, ended_at timestamptz NOT NULL, findings int NOT NULL)',
    format('SELECT %L', 'server: table tenants.last_audit created')
WHERE to_regclass('tenants.last_audit') IS NULL
\gexec
SELECT 'CREATE TABLE backups.archive (only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row), seen_at timestamptz,
    base_at timestamptz, broken_at timestamptz, holes int NOT NULL DEFAULT 0)',
    format('SELECT %L', 'server: table backups.archive created')
WHERE to_regclass('backups.archive') IS NULL
\gexec
GRANT USAGE ON SCHEMA backups, tenants TO :"backup";
GRANT SELECT, INSERT, UPDATE ON backups.last_success, backups.last_drill, tenants.last_audit TO :"backup";
\if :with_monitor
    GRANT USAGE ON SCHEMA backups, tenants TO :"monitor";
    GRANT SELECT ON backups.last_success, backups.last_drill, tenants.last_audit, backups.archive TO :"monitor";
\endif
\if :with_archive
    GRANT USAGE ON SCHEMA backups TO :"archive";
    GRANT SELECT, INSERT, UPDATE ON backups.archive TO :"archive";
\endif
