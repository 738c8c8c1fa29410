-- What restore_tenant.sh needs in the database whose rows it compares or replaces: temporary tables about the backup's
-- copy, which tenant_columns.sql fills, and temporary functions. Variable: tenant.
\set SHOW_CONTEXT never
SELECT set_config('restore.tenant', :'tenant', true) \g /dev/null
CREATE TEMP TABLE copied_columns (name text, number int, attname name, attnum int, type text) ON COMMIT DROP;
CREATE TEMP TABLE copied_rows (name text, number bigint) ON COMMIT DROP;

-- Lists the tables with tenants' rows. Schemas named replaced_<time> contain rows that an earlier restore has replaced.
CREATE FUNCTION pg_temp.tables(OUT relation oid, OUT source text, OUT name text) RETURNS SETOF record LANGUAGE sql AS $$
    SELECT s.relation, s.source, s.name FROM tenancy.sources() s WHERE s.name !~ '^replaced_\d{14}\.' ORDER BY s.name COLLATE "C"
    $$;

-- Lists foreign keys to these tables, and what counts rows of others that refer to the tenant's rows. They would prevent the
-- replacement, or be deleted or changed with the replaced rows.
CREATE FUNCTION pg_temp.references_to_tables(OUT child regclass, OUT name name, OUT statement text)
    RETURNS SETOF record LANGUAGE sql AS $$
    SELECT f.conrelid, f.conname, format('SELECT count(*) FROM %s child JOIN %s parent ON %s WHERE parent.tenant_id = $1 AND %s',
        f.conrelid::regclass, f.confrelid::regclass, (
            SELECT string_agg(format('child.%I = parent.%I', a.attname, b.attname), ' AND ')
            FROM unnest(f.conkey, f.confkey) AS pair(child, parent)
            JOIN pg_attribute a ON a.attrelid = f.conrelid AND a.attnum = pair.child
            JOIN pg_attribute b ON b.attrelid = f.confrelid AND b.attnum = pair.parent),
        CASE WHEN f.conrelid IN (SELECT t.relation FROM tenancy.tables() t WHERE t.isolable)
            THEN 'child.tenant_id IS DISTINCT FROM $1' ELSE 'true' END)
    FROM pg_constraint f
    WHERE f.contype = 'f' AND f.conparentid = 0
        AND f.confrelid IN (SELECT t.relation FROM tenancy.tables() t WHERE t.isolable)
    $$;

-- Raises an error that names each difference because of which rows or values would be lost.
CREATE PROCEDURE pg_temp.check_tables() LANGUAGE plpgsql AS $$
DECLARE
    tenant uuid := current_setting('restore.tenant');
    found record;
    number bigint;
    problems text[] := ARRAY(
        SELECT format('%s: %s rows in the backup, but no such table with tenant_id now', r.name, r.number)
        FROM pg_temp.copied_rows r WHERE r.number > 0 AND r.name NOT IN (SELECT t.name FROM pg_temp.tables() t)
    ) || ARRAY(
        SELECT format('%s: column %I was %s in the backup, and is %s now', c.name, c.attname, c.type,
            coalesce(format_type(a.atttypid, a.atttypmod), 'missing'))
        FROM pg_temp.copied_columns c JOIN pg_temp.copied_rows r USING (name) JOIN pg_temp.tables() t USING (name)
        LEFT JOIN pg_attribute a ON a.attrelid = t.relation AND a.attname = c.attname AND NOT a.attisdropped
        WHERE r.number > 0 AND format_type(a.atttypid, a.atttypmod) IS DISTINCT FROM c.type
        ORDER BY c.name, c.attnum
    ) || ARRAY(
        SELECT format('%s: column %I is required now, and not in the backup', t.name, a.attname)
        FROM pg_temp.tables() t JOIN pg_temp.copied_rows r USING (name) JOIN pg_attribute a ON a.attrelid = t.relation
        WHERE r.number > 0 AND a.attnum > 0 AND NOT a.attisdropped AND a.attnotnull AND NOT a.atthasdef
            AND a.attidentity = '' AND (t.name, a.attname) NOT IN (SELECT c.name, c.attname FROM pg_temp.copied_columns c)
        ORDER BY t.name, a.attnum
    );
BEGIN
    FOR found IN SELECT * FROM pg_temp.tables() t WHERE t.name NOT IN (SELECT r.name FROM pg_temp.copied_rows r) LOOP
        EXECUTE format('SELECT count(*) FROM %s WHERE tenant_id = $1', found.source) INTO number USING tenant;
        IF number > 0 THEN
            problems := problems || format('%s: %s rows now, but no such table in the backup', found.name, number);
        END IF;
    END LOOP;
    FOR found IN SELECT * FROM pg_temp.references_to_tables() LOOP
        EXECUTE found.statement INTO number USING tenant;
        IF number > 0 THEN
            problems := problems || format('%s: %s rows that are not the tenant''s refer to its rows (%I)', found.child, number,
                found.name);
        END IF;
    END LOOP;
    IF problems <> '{}' THEN
        RAISE EXCEPTION E'the tenant''s rows can''t be replaced:\n%', array_to_string(problems, E'\n')
            USING HINT = 'A restore of the whole database, or an export of the tenant, is possible in any case.';
    END IF;
END
$$;

-- Returns the statements that create a table for the tenant's rows of each table in the backup. Without such rows, its
-- columns don't matter.
CREATE FUNCTION pg_temp.temporary_tables() RETURNS SETOF text LANGUAGE sql AS $$
    SELECT CASE WHEN r.number > 0
        THEN format('CREATE TEMP TABLE %I ON COMMIT DROP AS SELECT %s FROM %s WITH NO DATA', 'copied_' || c.number, c.columns,
            t.source)
        ELSE format('CREATE TEMP TABLE %I () ON COMMIT DROP', 'copied_' || c.number) END
    FROM (SELECT name, number, string_agg(quote_ident(attname), ', ' ORDER BY attnum) AS columns
        FROM pg_temp.copied_columns GROUP BY name, number) c
    JOIN pg_temp.copied_rows r USING (name) LEFT JOIN pg_temp.tables() t USING (name)
    $$;

-- Describes each table: the tenant's rows in the backup, where they are, and their columns; `insertable` without those that
-- the table generates.
CREATE FUNCTION pg_temp.described(OUT relation oid, OUT source text, OUT name text, OUT rows bigint, OUT copy text,
    OUT columns text, OUT insertable text) RETURNS SETOF record LANGUAGE sql AS $$
    SELECT t.relation, t.source, t.name, coalesce(r.number, 0), 'pg_temp.copied_' || min(c.number),
        string_agg(quote_ident(c.attname), ', ' ORDER BY c.attnum),
        string_agg(quote_ident(c.attname), ', ' ORDER BY c.attnum) FILTER (WHERE a.attgenerated = '')
    FROM pg_temp.tables() t LEFT JOIN pg_temp.copied_rows r USING (name) LEFT JOIN pg_temp.copied_columns c USING (name)
    LEFT JOIN pg_attribute a ON a.attrelid = t.relation AND a.attname = c.attname
    GROUP BY t.relation, t.source, t.name, r.number
    ORDER BY t.name COLLATE "C"
    $$;
