-- One line per fact about the server's roles that globals.sql must bring back, as catalog.sql. Passwords are left out, and
-- the administrator `postgres`, which the server creates itself.
SET search_path = pg_catalog, pg_temp;
SELECT fact FROM (
    SELECT format('role %I: superuser %s, inherit %s, create role %s, create database %s, log in %s, replicate %s, bypass row '
        'security %s, connections %s', rolname, rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication,
        rolbypassrls, rolconnlimit) AS fact
    FROM pg_roles WHERE rolname NOT LIKE 'pg\_%' AND rolname <> 'postgres'
    UNION ALL SELECT format('default of %I: %s', rolname, setting)
    FROM pg_db_role_setting JOIN pg_roles r ON r.oid = setrole, unnest(setconfig) AS setting WHERE setdatabase = 0
    UNION ALL SELECT format('member %s of %s: admin option %s', member::regrole, roleid::regrole, admin_option)
    FROM pg_auth_members WHERE member::regrole::text <> 'postgres'
) AS facts ORDER BY fact COLLATE "C";
SELECT 'end';
