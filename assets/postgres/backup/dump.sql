-- Dumps this database into the file `archive`, and prints the time of the snapshot and the rows of each table in the same
-- snapshot. The snapshot exists as long as this transaction. Variable: archive.
BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY;
SELECT pg_export_snapshot() AS snapshot \gset
SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"');
\set dumped `pg_dump --format=custom --no-password --lock-wait-timeout=5min --snapshot=:'snapshot' --dbname=:'DBNAME' --file=:'archive' && echo true || echo false`
\if :dumped
    \ir rows.sql
    COMMIT;
\else
    DO $$ BEGIN RAISE EXCEPTION 'pg_dump failed'; END $$;
\endif
