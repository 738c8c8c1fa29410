-- Inside one service's database: who may create objects, and the application role's privileges on the owner's objects.
-- Variables: owner, app.
\ir lock.sql

-- PostgreSQL 15's default, which a cluster upgraded from an older version lacks.
SELECT 'ALTER SCHEMA public OWNER TO pg_database_owner',
    format('SELECT %L', format('database %s: schema public now belongs to its owner', current_database()))
FROM pg_namespace WHERE nspname = 'public' AND nspowner <> 'pg_database_owner'::regrole
\gexec

SELECT format('REVOKE CREATE ON SCHEMA %I FROM %s', nspname, who),
    format('SELECT %L', format('database %s: %s may no longer create in schema %s', current_database(), who, nspname))
FROM pg_namespace, aclexplode(coalesce(nspacl, acldefault('n', nspowner))) AS acl,
    coalesce(nullif(acl.grantee, 0)::regrole::text, 'PUBLIC') AS who
WHERE acl.privilege_type = 'CREATE' AND acl.grantee IN (0, to_regrole(quote_ident(:'app')))
    AND nspname NOT LIKE 'pg\_%' AND nspname <> 'information_schema'
\gexec

SELECT format('GRANT USAGE ON SCHEMA public TO %I', :'app') FROM pg_namespace WHERE nspname = 'public'
\gexec

-- Only row access: TRUNCATE ignores row-level security, and REFERENCES and TRIGGER give indirect access to other rows.
-- USAGE on a sequence allows nextval and currval, but doesn't show other tenants' last_value.
ALTER DEFAULT PRIVILEGES FOR ROLE :"owner" REVOKE ALL ON TABLES FROM :"app";
ALTER DEFAULT PRIVILEGES FOR ROLE :"owner" GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO :"app";
ALTER DEFAULT PRIVILEGES FOR ROLE :"owner" REVOKE ALL ON SEQUENCES FROM :"app";
ALTER DEFAULT PRIVILEGES FOR ROLE :"owner" GRANT USAGE ON SEQUENCES TO :"app";
ALTER DEFAULT PRIVILEGES FOR ROLE :"owner" REVOKE ALL ON SCHEMAS FROM :"app";
ALTER DEFAULT PRIVILEGES FOR ROLE :"owner" GRANT USAGE ON SCHEMAS TO :"app";

-- Revoke additional privileges on existing tables (from a migration's GRANT ALL, for example). Grant nothing: a
-- migration may have revoked UPDATE and DELETE from the application role on purpose, for an append-only table.
SELECT format('REVOKE %s ON %s FROM %s', acl.privilege_type, c.oid::regclass, who),
    format('SELECT %L', format('database %s: %s on %s revoked from %s', current_database(), acl.privilege_type,
        c.oid::regclass, who))
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, aclexplode(c.relacl) AS acl,
    coalesce(nullif(acl.grantee, 0)::regrole::text, 'PUBLIC') AS who
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND acl.grantee IN (0, to_regrole(quote_ident(:'app')))
    AND acl.privilege_type NOT IN ('SELECT', 'INSERT', 'UPDATE', 'DELETE')
    AND n.nspname NOT LIKE 'pg\_%' AND n.nspname <> 'information_schema'
\gexec
