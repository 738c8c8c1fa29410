-- Facts about this database that are the same after an upgrade to another major version: rows, sequences, extensions,
-- numbers of objects. What belongs to an extension is left out, because the extension creates it.
SET search_path = pg_catalog;
\ir rows.sql
\set of_extension '(SELECT classid, objid FROM pg_depend WHERE deptype = ''e'')'
SELECT format('sequence %I.%I: %s', schemaname, sequencename, last_value) FROM pg_sequences;
SELECT format('extension %I', extname) FROM pg_extension;
SELECT format('relations of kind %s: %s', relkind, count(*)) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
WHERE nspname NOT LIKE 'pg\_%' AND nspname <> 'information_schema'
    AND ('pg_class'::regclass, c.oid) NOT IN :of_extension
GROUP BY relkind;
-- From 18 on, NOT NULL is a constraint of its own (n).
SELECT format('constraints of kind %s: %s', contype, count(*)) FROM pg_constraint c JOIN pg_namespace n ON n.oid = connamespace
WHERE nspname NOT LIKE 'pg\_%' AND nspname <> 'information_schema' AND contype <> 'n'
    AND (conrelid = 0 OR ('pg_class'::regclass, conrelid) NOT IN :of_extension)
    AND (contypid = 0 OR ('pg_type'::regclass, contypid) NOT IN :of_extension)
GROUP BY contype;
SELECT format('functions: %s', count(*)) FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace
WHERE nspname NOT LIKE 'pg\_%' AND nspname <> 'information_schema'
    AND ('pg_proc'::regclass, p.oid) NOT IN :of_extension;
SELECT format('policies: %s', count(*)) FROM pg_policy;
SELECT format('triggers: %s', count(*)) FROM pg_trigger WHERE NOT tgisinternal;
SELECT format('event trigger %I', evtname) FROM pg_event_trigger;
SELECT format('large objects: %s', count(*)) FROM pg_largeobject_metadata;
SELECT format('database of %I, %s, %s, %s, %s, %s connections', pg_get_userbyid(datdba), pg_encoding_to_char(encoding),
    datlocprovider, datcollate, datctype, datconnlimit)
FROM pg_database WHERE datname = current_database();
