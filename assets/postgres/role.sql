-- One role with exactly these attributes and exactly this membership, whatever it was before.
-- Only what differs is altered: a managed server's administrator may not even name SUPERUSER in ALTER ROLE.
-- Variables: role, login, bypassrls, inherit (true or false), member_of (a role's name or empty).
SELECT current_setting('server_version_num')::int >= 160000 AS grants_have_options \gset

SELECT format('CREATE ROLE %I %s', :'role', CASE WHEN :login THEN 'LOGIN' ELSE 'NOLOGIN' END)
    || CASE WHEN :bypassrls THEN ' BYPASSRLS' ELSE '' END
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'role')
\gexec

SELECT format('ALTER ROLE %I %s', rolname, wrong)
FROM pg_roles, concat_ws(' ',
    CASE WHEN rolsuper THEN 'NOSUPERUSER' END,
    CASE WHEN rolcreatedb THEN 'NOCREATEDB' END,
    CASE WHEN rolcreaterole THEN 'NOCREATEROLE' END,
    CASE WHEN rolreplication THEN 'NOREPLICATION' END,
    CASE WHEN rolbypassrls <> :bypassrls THEN CASE WHEN :bypassrls THEN 'BYPASSRLS' ELSE 'NOBYPASSRLS' END END,
    CASE WHEN rolcanlogin <> :login THEN CASE WHEN :login THEN 'LOGIN' ELSE 'NOLOGIN' END END,
    CASE WHEN rolinherit <> :inherit THEN CASE WHEN :inherit THEN 'INHERIT' ELSE 'NOINHERIT' END END,
    CASE WHEN rolvaliduntil < 'infinity' THEN 'VALID UNTIL ''infinity''' END
) AS wrong
WHERE rolname = :'role' AND wrong <> ''
\gexec

-- A role may change its own defaults: a planted tenant would be every later session's.
SELECT DISTINCT format('ALTER ROLE %I %s RESET app.tenant_id', rolname, 'IN DATABASE ' || quote_ident(datname))
FROM pg_db_role_setting s JOIN pg_roles r ON r.oid = s.setrole LEFT JOIN pg_database d ON d.oid = s.setdatabase,
    unnest(setconfig) AS setting
WHERE rolname = :'role' AND setting LIKE 'app.tenant_id=%'
\gexec

\if :grants_have_options
    SELECT format('REVOKE %I FROM %I GRANTED BY %I CASCADE', g.rolname, m.rolname, b.rolname)
    FROM pg_auth_members a JOIN pg_roles g ON g.oid = a.roleid JOIN pg_roles m ON m.oid = a.member
        JOIN pg_roles b ON b.oid = a.grantor
    WHERE m.rolname = :'role'
        AND (g.rolname <> :'member_of' OR a.admin_option OR a.inherit_option <> :inherit OR NOT a.set_option)
    \gexec

    SELECT format('GRANT %I TO %I WITH INHERIT %s, SET TRUE', :'member_of', :'role', :'inherit')
    WHERE :'member_of' <> '' AND NOT EXISTS (
        SELECT FROM pg_auth_members a JOIN pg_roles g ON g.oid = a.roleid JOIN pg_roles m ON m.oid = a.member
        WHERE m.rolname = :'role' AND g.rolname = :'member_of')
    \gexec
\else
    SELECT format('REVOKE %I FROM %I CASCADE', g.rolname, m.rolname)
    FROM pg_auth_members a JOIN pg_roles g ON g.oid = a.roleid JOIN pg_roles m ON m.oid = a.member
    WHERE m.rolname = :'role' AND (g.rolname <> :'member_of' OR a.admin_option)
    \gexec

    SELECT format('GRANT %I TO %I', :'member_of', :'role')
    WHERE :'member_of' <> '' AND NOT EXISTS (
        SELECT FROM pg_auth_members a JOIN pg_roles g ON g.oid = a.roleid JOIN pg_roles m ON m.oid = a.member
        WHERE m.rolname = :'role' AND g.rolname = :'member_of')
    \gexec
\endif
