-- Sets exactly these attributes, memberships and time limits of one role, whatever it had before.
-- Variables: role, login, replication, bypassrls, inherit (true or false), connections (-1: no limit), member_of (names of roles),
-- timeouts (name=value …); the last two are separated by spaces, and what this server doesn't know is left out.
SELECT NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'role') AS is_new \gset

SELECT format('CREATE ROLE %I %s %s %s %s CONNECTION LIMIT %s %s', :'role',
        CASE WHEN :login THEN 'LOGIN' ELSE 'NOLOGIN' END,
        CASE WHEN :replication THEN 'REPLICATION' ELSE 'NOREPLICATION' END,
        CASE WHEN :bypassrls THEN 'BYPASSRLS' ELSE 'NOBYPASSRLS' END,
        CASE WHEN :inherit THEN 'INHERIT' ELSE 'NOINHERIT' END,
        :connections,
        (SELECT 'IN ROLE ' || string_agg(quote_ident(rolname), ', ') FROM pg_roles
            WHERE rolname = ANY (string_to_array(:'member_of', ' ')))),
    format('SELECT %L', format('role %s: created', :'role'))
WHERE :'is_new'
\gexec

SELECT format('ALTER ROLE %I %s', rolname, wrong), format('SELECT %L', format('role %s: now %s', rolname, wrong))
FROM pg_roles, concat_ws(' ',
    CASE WHEN rolsuper THEN 'NOSUPERUSER' END,
    CASE WHEN rolcreatedb THEN 'NOCREATEDB' END,
    CASE WHEN rolcreaterole THEN 'NOCREATEROLE' END,
    CASE WHEN rolreplication <> :replication THEN CASE WHEN :replication THEN 'REPLICATION' ELSE 'NOREPLICATION' END END,
    CASE WHEN rolbypassrls <> :bypassrls THEN CASE WHEN :bypassrls THEN 'BYPASSRLS' ELSE 'NOBYPASSRLS' END END,
    CASE WHEN rolcanlogin <> :login THEN CASE WHEN :login THEN 'LOGIN' ELSE 'NOLOGIN' END END,
    CASE WHEN rolinherit <> :inherit THEN CASE WHEN :inherit THEN 'INHERIT' ELSE 'NOINHERIT' END END,
    CASE WHEN rolconnlimit <> :connections THEN 'CONNECTION LIMIT ' || :connections END,
    CASE WHEN rolvaliduntil < 'infinity' THEN 'VALID UNTIL ''infinity''' END
) AS wrong
WHERE rolname = :'role' AND wrong <> ''
\gexec

-- A role may change its own defaults, also for one database: removed defaults are restored.
SELECT format('ALTER ROLE %I SET %I = %L', :'role', name, value),
    CASE WHEN NOT :'is_new' THEN format('SELECT %L', format('role %s: %s is now %s', :'role', name, value)) END
FROM (
    SELECT split_part(pair, '=', 1) AS name, split_part(pair, '=', 2) AS value
    FROM unnest(string_to_array(:'timeouts', ' ')) AS pair
) AS wanted
WHERE EXISTS (SELECT FROM pg_settings s WHERE s.name = wanted.name)
    AND NOT EXISTS (
        SELECT FROM pg_db_role_setting
        WHERE setdatabase = 0 AND setrole = to_regrole(quote_ident(:'role'))
            AND format('%s=%s', name, value) = ANY (setconfig))
\gexec

SELECT format('ALTER ROLE %I IN DATABASE %I RESET %I', rolname, datname, split_part(setting, '=', 1)),
    format('SELECT %L',
        format('role %s: its own %s in database %s was reset', rolname, split_part(setting, '=', 1), datname))
FROM pg_db_role_setting s JOIN pg_roles r ON r.oid = s.setrole JOIN pg_database d ON d.oid = s.setdatabase,
    unnest(setconfig) AS setting
WHERE rolname = :'role' AND split_part(setting, '=', 1) IN (
    SELECT split_part(pair, '=', 1) FROM unnest(string_to_array(:'timeouts', ' ')) AS pair)
ORDER BY datname, setting
\gexec

-- A role may change its own defaults: a default tenant would apply to every later session.
SELECT DISTINCT format('ALTER ROLE %I %s RESET app.tenant_id', rolname, 'IN DATABASE ' || quote_ident(datname)),
    format('SELECT %L', format('role %s: no longer has a default tenant', rolname))
FROM pg_db_role_setting s JOIN pg_roles r ON r.oid = s.setrole LEFT JOIN pg_database d ON d.oid = s.setdatabase,
    unnest(setconfig) AS setting
WHERE rolname = :'role' AND setting LIKE 'app.tenant_id=%'
\gexec

-- Uses jsonb because the two options are columns only since PostgreSQL 16; in older versions they are null here.
SELECT format('REVOKE %I FROM %I GRANTED BY %I CASCADE', g.rolname, m.rolname, b.rolname),
    format('SELECT %L', format('role %s: no longer a member of %s', m.rolname, g.rolname))
FROM pg_auth_members a JOIN pg_roles g ON g.oid = a.roleid JOIN pg_roles m ON m.oid = a.member
    JOIN pg_roles b ON b.oid = a.grantor
WHERE m.rolname = :'role'
    AND (g.rolname <> ALL (string_to_array(:'member_of', ' ')) OR a.admin_option OR NOT (to_jsonb(a) ->> 'set_option')::boolean
        OR (to_jsonb(a) ->> 'inherit_option')::boolean <> :inherit)
\gexec

SELECT format('GRANT %I TO %I', g.rolname, :'role'),
    format('SELECT %L', format('role %s: now a member of %s', :'role', g.rolname))
FROM pg_roles g
WHERE g.rolname = ANY (string_to_array(:'member_of', ' '))
    AND NOT EXISTS (SELECT FROM pg_auth_members WHERE roleid = g.oid AND member = to_regrole(quote_ident(:'role')))
\gexec
