-- Dumps this database into the file `archive`, and prints the time of the snapshot and the rows of each table in the same
-- snapshot. Writes the facts of catalog.sql in the same snapshot into the file `catalog`. The snapshot exists as long as this
-- transaction. Variables: archive, catalog.
--
-- A table that is rewritten (ALTER TABLE) or truncated after the snapshot is empty for the snapshot, and pg_dump would
-- dump no row of it (https://www.postgresql.org/docs/current/mvcc-caveats.html). So the tables are locked first: LOCK
-- TABLE takes no snapshot. The lock also keeps the tables until their rows are counted, after pg_dump has ended.
SELECT coalesce(string_agg(format('ONLY %s', c.oid::regclass), ', '), '') AS tables, count(*) > 0 AS has_tables
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND nspname NOT LIKE 'pg\_%' AND nspname <> 'information_schema' \gset
SELECT 'SET transaction_timeout = 0' WHERE current_setting('server_version_num')::int >= 170000 \gexec
BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY;
SET LOCAL lock_timeout = '5min';
\if :has_tables
    LOCK TABLE :tables IN ACCESS SHARE MODE;
\endif
SELECT pg_export_snapshot() AS snapshot \gset
SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"');
\set dumped `pg_dump --format=custom --no-password --lock-wait-timeout=5min --snapshot=:'snapshot' --dbname=:'DBNAME' --file=:'archive' && echo true || echo false`
\if :dumped
    \ir rows.sql
    \o :catalog
    \ir catalog.sql
    \o
    COMMIT;
\else
    DO $$ BEGIN RAISE EXCEPTION 'pg_dump failed'; END $$;
\endif
