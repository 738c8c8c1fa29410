-- One service's roles and database, without the objects in the database. Runs in the administrator's database.
-- Variables: database, owner, migrator, app, backup, monitor, with_monitor, app_connections, migrator_connections.
\ir lock.sql

-- Owns the database and everything in it, and can't log in, so that no connection string leads to a role that may alter
-- tables.
\set role :owner
\set login false
\set bypassrls false
\set inherit true
\set connections -1
\set timeouts
\set member_of
\ir role.sql

-- Becomes the owner at login, so that the objects of a migration belong to the owner. It doesn't inherit: after SET
-- ROLE NONE it can't create objects that would belong to the wrong role. It waits for a lock only as long as readers
-- may wait behind it, and then tries again. Ten minutes is the timeout of the task that runs it (timeout_s in
-- components/microservice.py).
\set role :migrator
\set login true
\set inherit false
\set connections :migrator_connections
\set timeouts 'statement_timeout=10min lock_timeout=5s idle_in_transaction_session_timeout=1min'
\set timeouts :timeouts ' transaction_timeout=10min idle_session_timeout=10min'
\set member_of :owner
\ir role.sql

-- A client that hangs in a transaction holds locks that others wait for. Idle sessions of pools may stay. A statement
-- ends before the request that waits for it: STATEMENT in components/gateway/timeouts.py is the same.
\set role :app
\set inherit true
\set connections :app_connections
\set timeouts 'statement_timeout=20s lock_timeout=10s idle_in_transaction_session_timeout=30s'
\set timeouts :timeouts ' transaction_timeout=2min'
\set member_of
\ir role.sql

-- template0: no client can be connected to it, and it has no local objects.
SELECT format('CREATE DATABASE %I OWNER %I TEMPLATE template0 ENCODING ''UTF8''', :'database', :'owner'),
    format('REVOKE ALL ON DATABASE %I FROM PUBLIC', :'database'),
    format('GRANT CONNECT ON DATABASE %I TO %I, %I, %I', :'database', :'migrator', :'app', :'backup'),
    format('SELECT %L', format('database %s: created', :'database'))
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'database')
\gexec

-- From here on, the database may have existed before, or be the incomplete result of a killed run.
SELECT format('ALTER DATABASE %I OWNER TO %I', datname, :'owner'),
    format('SELECT %L', format('database %s: now belongs to %s', datname, :'owner'))
FROM pg_database WHERE datname = :'database' AND datdba <> to_regrole(quote_ident(:'owner'))
\gexec

SELECT format('ALTER DATABASE %I RESET app.tenant_id', datname),
    format('SELECT %L', format('database %s: no longer has a default tenant', datname))
FROM pg_database d JOIN pg_db_role_setting s ON s.setdatabase = d.oid AND s.setrole = 0, unnest(setconfig) AS setting
WHERE datname = :'database' AND setting LIKE 'app.tenant_id=%'
\gexec

SELECT format('ALTER ROLE %I IN DATABASE %I SET role = %L', :'migrator', :'database', :'owner'),
    format('SELECT %L', format('role %s: becomes %s at login', :'migrator', :'owner'))
WHERE NOT EXISTS (
    SELECT FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase
    WHERE datname = :'database' AND s.setrole = to_regrole(quote_ident(:'migrator'))
        AND format('role=%s', :'owner') = ANY (setconfig))
\gexec

-- Nothing for PUBLIC, only CONNECT for this service's roles, nothing for other services' roles. A grant to an
-- operator's own role (for a report, for example) stays.
SELECT format('REVOKE %s ON DATABASE %I FROM %s', acl.privilege_type, datname, who),
    format('SELECT %L', format('database %s: %s revoked from %s', datname, acl.privilege_type, who))
FROM pg_database d, aclexplode(coalesce(datacl, acldefault('d', datdba))) AS acl
    LEFT JOIN pg_roles r ON r.oid = acl.grantee, coalesce(quote_ident(r.rolname), 'PUBLIC') AS who
WHERE datname = :'database' AND (
    acl.grantee = 0
    OR rolname IN (:'migrator', :'app') AND acl.privilege_type <> 'CONNECT'
    OR rolname IN (
        SELECT other.datname || suffix FROM pg_database other, unnest('{_owner,_migrator,_app}'::text[]) AS suffix
        WHERE other.datname <> :'database'))
ORDER BY rolname, acl.privilege_type
\gexec

SELECT format('GRANT CONNECT ON DATABASE %I TO %I', :'database', rolname),
    format('SELECT %L', format('database %s: %s may connect', :'database', rolname))
FROM pg_roles
WHERE (rolname IN (:'migrator', :'app', :'backup') OR rolname = :'monitor' AND :with_monitor)
    AND NOT has_database_privilege(rolname, :'database', 'CONNECT')
ORDER BY rolname
\gexec
