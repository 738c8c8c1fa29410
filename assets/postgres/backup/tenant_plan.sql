-- Prints per table what restore_tenant.sh would replace, and changes nothing. Rows are compared as text, because some types
-- can't be compared. Variable: tenant.
SELECT format('SELECT format(''%%s: %%s rows now, %%s in the backup; %%s of those now are newer or were changed, and would be lost'',
        %L, counted.now, %s, lost.number)
    FROM (SELECT count(*) AS now FROM %s WHERE tenant_id = %L) AS counted,
        (SELECT count(*) AS number FROM (SELECT %s FROM %s WHERE tenant_id = %L %s) AS gone) AS lost
    WHERE counted.now > 0 OR %s > 0', name, rows, source, :'tenant', row, source, :'tenant', except_copy, rows)
FROM pg_temp.described(),
    LATERAL (SELECT CASE WHEN rows > 0 THEN format('ROW(%s)::text', columns) ELSE 'true' END AS row,
        CASE WHEN rows > 0 THEN format('EXCEPT ALL SELECT ROW(%s)::text FROM %s', columns, copy) ELSE '' END AS except_copy) AS parts
\gexec
ROLLBACK;
