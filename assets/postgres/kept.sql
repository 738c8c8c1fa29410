-- Databases made by this task whose service is no longer in the table. They stay; people should know.
-- Variable: databases (names, separated by spaces).
SELECT format('database %s: not in the table, kept', datname)
FROM pg_database
WHERE datdba = to_regrole(quote_ident(datname || '_owner')) AND datname <> ALL (string_to_array(:'databases', ' '))
ORDER BY datname;
