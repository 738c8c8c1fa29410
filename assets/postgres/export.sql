-- One tenant's rows in this database, for tenants.sh, in one snapshot: for each table, the name of its file, the number
-- of its rows and its entry in the manifest, then the rows as the input of `tenants.sh receive`. Variables: tenant,
-- scratch (the directory in TENANTS_SCRATCH, because psql replaces no variables in the command of \g).
--
-- COPY's CSV format leaves each line as it is, because JSON escapes this quote and this delimiter.
-- The tables are locked before the snapshot, which would see no row of a table that is rewritten later (see dump.sql).
SET row_security = off;
SELECT coalesce(string_agg(source, ', '), '') AS tables, count(*) > 0 AS has_tables FROM tenancy.sources() \gset
SELECT 'SET transaction_timeout = 0' WHERE current_setting('server_version_num')::int >= 170000 \gexec
BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY;
\if :has_tables
    LOCK TABLE :tables IN ACCESS SHARE MODE;
\endif
\set script :scratch '/script.sql'

SELECT json_build_object('database', current_database(), 'time', to_char(now() AT TIME ZONE 'UTC',
    'YYYY-MM-DD"T"HH24:MI:SS"Z"')) \g |cat >>"$TENANTS_SCRATCH/snapshots"

\o :script
SELECT format($statements$
SELECT format(E'%%s %%s\n%%s', %1$L, count(*), rtrim(json_build_object('database', current_database(), 'table', %2$L,
    'file', %1$L, 'rows', count(*))::text, '}')) FROM %3$s WHERE tenant_id = %4$L \g |cat >"$TENANTS_SCRATCH/entry"
COPY (SELECT row_to_json(t) FROM %3$s t WHERE tenant_id = %4$L) TO STDOUT WITH (FORMAT csv, QUOTE E'\x01', DELIMITER E'\x02')
    \g |sh "$TENANTS_PROGRAM" receive
$statements$, format('%s/%s.jsonl', current_database(), CASE WHEN name ~ '^\w+\.\w+$' AND name ~ '^[[:ascii:]]+$' THEN name
    ELSE 'table-' || relation END), name, source, :'tenant')
FROM tenancy.sources();
SELECT format($statements$
SELECT json_build_object('database', current_database(), 'table', %L, 'rows', count(*)) FROM %s
    \g |cat >>"$TENANTS_SCRATCH/others"
$statements$, name, source)
FROM tenancy.other_sources();
\o
SELECT count(*) FROM tenancy.sources() \g |cat >"$TENANTS_SCRATCH/sources"
\i :script
COMMIT;
