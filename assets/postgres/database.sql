-- One service's roles and database, seen from outside it. Run from the administrator's database.
-- Variables: database, owner, migrator, app, backup, monitor, with_monitor.
\ir lock.sql

-- Owns the database and everything in it, and can't log in: no connection string leads to a role that may alter
-- a table.
\set role :owner
\set login false
\set bypassrls false
\set inherit true
\set member_of
\ir role.sql

-- Becomes the owner at login, so what a migration creates belongs to the owner. It inherits nothing: after
-- SET ROLE NONE it can create nothing that would then belong to the wrong role.
\set role :migrator
\set login true
\set inherit false
\set member_of :owner
\ir role.sql

\set role :app
\set inherit true
\set member_of
\ir role.sql

-- An administrator that is no superuser acts on the owner's behalf only as its member.
SELECT NOT rolsuper AS managed FROM pg_roles WHERE rolname = current_user \gset
\if :managed
    SELECT format('GRANT %I TO CURRENT_USER', :'owner')
        || CASE WHEN :grants_have_options THEN ' WITH INHERIT TRUE, SET TRUE' ELSE '' END
    WHERE NOT pg_has_role(:'owner', 'USAGE')
    \gexec
\endif

-- template0: no one can be connected to it, and nothing local was put into it.
SELECT format('CREATE DATABASE %I OWNER %I TEMPLATE template0 ENCODING ''UTF8''', :'database', :'owner')
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'database')
\gexec

SELECT format('ALTER DATABASE %I OWNER TO %I', datname, :'owner')
FROM pg_database WHERE datname = :'database' AND datdba <> :'owner'::regrole
\gexec

SELECT format('ALTER DATABASE %I RESET app.tenant_id', datname)
FROM pg_database d JOIN pg_db_role_setting s ON s.setdatabase = d.oid AND s.setrole = 0, unnest(setconfig) AS setting
WHERE datname = :'database' AND setting LIKE 'app.tenant_id=%'
\gexec

SELECT format('ALTER ROLE %I IN DATABASE %I SET role = %L', :'migrator', :'database', :'owner')
WHERE NOT EXISTS (
    SELECT FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase
    WHERE datname = :'database' AND s.setrole = :'migrator'::regrole AND format('role=%s', :'owner') = ANY (setconfig))
\gexec

-- Who may connect: this service, the backup, the monitor. Other services' roles lose what they were given;
-- a grant somebody made to a role of their own (a report, say) is theirs and stays.
BEGIN;
REVOKE ALL ON DATABASE :"database" FROM PUBLIC, :"migrator", :"app";

SELECT DISTINCT format('REVOKE ALL ON DATABASE %I FROM %I', d.datname, grantee.rolname)
FROM pg_database d, aclexplode(d.datacl) AS acl JOIN pg_roles grantee ON grantee.oid = acl.grantee
WHERE d.datname = :'database' AND acl.grantee <> d.datdba
    AND grantee.rolname IN (
        SELECT other.datname || suffix FROM pg_database other, unnest('{_owner,_migrator,_app}'::text[]) AS suffix
        WHERE other.datname <> :'database')
\gexec

GRANT CONNECT ON DATABASE :"database" TO :"migrator", :"app", :"backup";
\if :with_monitor
    GRANT CONNECT ON DATABASE :"database" TO :"monitor";
\endif
COMMIT;
