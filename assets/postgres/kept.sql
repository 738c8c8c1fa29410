-- Objects of an earlier run that aren't in the table any more. They stay and are reported.
-- Variables: databases (names, separated by spaces), monitor, with_monitor.
SELECT format('database %s: not in the table, kept', datname)
FROM pg_database
WHERE datdba = to_regrole(quote_ident(datname || '_owner')) AND datname <> ALL (string_to_array(:'databases', ' '))
ORDER BY datname;

SELECT format('role %s: no password file, password unchanged', rolname)
FROM pg_roles
WHERE rolname = :'monitor' AND NOT :with_monitor;
