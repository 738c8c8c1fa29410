-- In the copy of a backup's database: statements that fill the temporary tables of tenant_check.sql with the tenant's rows.
-- Variable: tenant. The numbers are those of tenant_columns.sql.
SET row_security = off;
SELECT format('SELECT %L', format('COPY pg_temp.%I FROM STDIN;', 'copied_' || number)),
    format('COPY (SELECT %s FROM %s WHERE tenant_id = %L) TO STDOUT', columns, source, :'tenant'), $$SELECT '\.'$$
FROM (
    SELECT s.source, dense_rank() OVER (ORDER BY s.name COLLATE "C") AS number, (
        SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute
        WHERE attrelid = s.relation AND attnum > 0 AND NOT attisdropped) AS columns
    FROM tenancy.sources() s
    WHERE s.name !~ '^replaced_\d{14}\.'
) AS numbered
ORDER BY number \gexec
