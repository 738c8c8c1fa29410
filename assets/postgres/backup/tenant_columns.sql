-- In the copy of a backup's database: statements that describe the tables with tenants' rows to the session that reads them.
-- Variable: tenant. Schemas named replaced_<time> contain rows that an earlier restore has replaced.
SET row_security = off;
\echo 'COPY pg_temp.copied_columns FROM STDIN;'
COPY (
    SELECT s.name, dense_rank() OVER (ORDER BY s.name COLLATE "C"), a.attname, a.attnum,
        format_type(a.atttypid, a.atttypmod)
    FROM tenancy.sources() s JOIN pg_attribute a ON a.attrelid = s.relation AND a.attnum > 0 AND NOT a.attisdropped
    WHERE s.name !~ '^replaced_\d{14}\.'
) TO STDOUT;
\echo '\\.'
\echo 'COPY pg_temp.copied_rows FROM STDIN;'
SELECT format('COPY (SELECT %L, count(*) FROM %s WHERE tenant_id = %L) TO STDOUT', name, source, :'tenant')
FROM tenancy.sources() WHERE name !~ '^replaced_\d{14}\.' \gexec
\echo '\\.'
