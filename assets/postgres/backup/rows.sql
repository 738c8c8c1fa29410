-- One line `"schema.table": rows` per table of this database, as in a backup's manifest. Tables of an extension are left
-- out, because the extension creates them. row_security: an error instead of a count of the visible rows only.
SET row_security = off;
SELECT format('SELECT %L || count(*) FROM ONLY %s', to_json(format('%I.%I', nspname, relname))::text || ': ', c.oid::regclass)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND nspname NOT LIKE 'pg\_%' AND nspname <> 'information_schema'
    AND NOT EXISTS (SELECT FROM pg_depend d
        WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY nspname COLLATE "C", relname COLLATE "C"
\gexec
