-- Facts about the server's roles that are the same after an upgrade to another major version.
SELECT format('role %I: %s %s %s %s %s %s %s %s %s %s', rolname, rolsuper, rolinherit, rolcreaterole, rolcreatedb,
    rolcanlogin, rolreplication, rolbypassrls, rolconnlimit, rolvaliduntil, md5(rolpassword))
FROM pg_authid WHERE rolname !~ '^pg_';
SELECT format('member %I of %I, %s', member::regrole::text, roleid::regrole::text, bool_or(admin_option))
FROM pg_auth_members WHERE member::regrole::text !~ '^pg_' GROUP BY member, roleid;
SELECT format('default of role %s in %s: %s', rolname, datname, setting)
FROM pg_db_role_setting LEFT JOIN pg_roles ON pg_roles.oid = setrole LEFT JOIN pg_database ON pg_database.oid = setdatabase,
    unnest(setconfig) AS setting;
