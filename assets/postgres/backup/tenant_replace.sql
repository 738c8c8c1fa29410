-- Replaces the tenant's rows by those in the temporary tables of tenant_check.sql, and commits. Variables: tenant; kept, the
-- new schema of the replaced rows; backup, its name.
--
-- Each statement changes all tables, because PostgreSQL checks foreign keys at the end of a statement. So tables may refer to
-- each other in any order.
SET LOCAL lock_timeout = '10s';
-- Others may read, and their writes wait until the commit. Tables that refer to these ones are locked too, because their rows
-- could be deleted with the replaced rows.
SELECT 'LOCK TABLE ' || string_agg(source, ', ') || ' IN SHARE ROW EXCLUSIVE MODE'
FROM (SELECT source FROM pg_temp.tables() UNION SELECT child::text FROM pg_temp.references_to_tables()) AS locked
HAVING count(*) > 0 \gexec
CALL pg_temp.check_tables();
-- An erasure that began meanwhile has recorded the tenant first. A later one waits for these locks, and finds these rows.
DO $$
BEGIN
    IF EXISTS (SELECT FROM tenancy.erased WHERE tenant_id = current_setting('restore.tenant')::uuid) THEN
        RAISE EXCEPTION '% was erased meanwhile', current_setting('restore.tenant');
    END IF;
END
$$;

-- It belongs to the database's owner, so that an erasure of the tenant reaches it. The application role has no access.
SELECT rolname AS owner FROM pg_database JOIN pg_roles ON datdba = pg_roles.oid WHERE datname = current_database() \gset
CREATE SCHEMA :"kept" AUTHORIZATION :"owner";
SELECT format('REVOKE ALL ON SCHEMA %I FROM %s', :'kept', grantee::regrole)
FROM pg_namespace, aclexplode(nspacl) WHERE nspname = :'kept' AND grantee <> nspowner AND grantee <> 0 \gexec
SELECT format('CREATE TABLE %I.%I AS SELECT * FROM %s WHERE tenant_id = %L', :'kept', kept_name, source, :'tenant'),
    format('ALTER TABLE %I.%I OWNER TO %I', :'kept', kept_name, :'owner'),
    format('COMMENT ON TABLE %I.%I IS %L', :'kept', kept_name,
        format('Rows of %s that backup %s has replaced, of tenant %s', name, :'backup', :'tenant'))
FROM pg_temp.described() d JOIN pg_class c ON c.oid = d.relation,
    LATERAL (SELECT row_number() OVER (ORDER BY name COLLATE "C") || '_' || left(relname, 20) AS kept_name) AS names \gexec

CREATE TEMP TABLE disabled ON COMMIT DROP AS
SELECT format('ALTER TABLE ONLY %s %%s TRIGGER %I', tgrelid::regclass, tgname) AS statement, tgenabled
FROM pg_trigger JOIN tenancy.tables() t ON t.relation = tgrelid AND t.isolable
WHERE NOT tgisinternal AND tgenabled <> 'D' ORDER BY tgrelid, tgname;
SELECT format(statement, 'DISABLE') FROM disabled \gexec

SELECT 'WITH ' || string_agg(format('d%s AS (DELETE FROM %s WHERE tenant_id = %L RETURNING 1)', relation, source, :'tenant'), ', ')
    || ' ' || string_agg(format('SELECT format(''%%s: %%s rows replaced by %s'', %L, count(*)) FROM d%s HAVING count(*) > 0 OR %s > 0',
        rows, name, relation, rows), ' UNION ALL ')
FROM pg_temp.described() HAVING count(*) > 0 \gexec
SELECT 'WITH ' || string_agg(format('i%s AS (INSERT INTO %s (%s) OVERRIDING SYSTEM VALUE SELECT %s FROM %s RETURNING 1)', relation,
        relation::regclass, insertable, insertable, copy), ', ') || ' SELECT WHERE false'
FROM pg_temp.described() WHERE rows > 0 HAVING count(*) > 0 \gexec
SET CONSTRAINTS ALL IMMEDIATE;
SELECT format(statement, CASE tgenabled WHEN 'R' THEN 'ENABLE REPLICA' WHEN 'A' THEN 'ENABLE ALWAYS' ELSE 'ENABLE' END)
FROM disabled \gexec

-- A rule of the service could have left out rows. And a backup that is newer than the restored database contains greater
-- numbers than its sequences.
DO $$
DECLARE
    found record;
    sequence record;
    number bigint;
BEGIN
    FOR found IN SELECT * FROM pg_temp.described() LOOP
        EXECUTE format('SELECT count(*) FROM %s WHERE tenant_id = $1', found.source) INTO number
            USING current_setting('restore.tenant')::uuid;
        IF number <> found.rows THEN
            RAISE EXCEPTION '% has % rows of the tenant instead of % in the backup', found.name, number, found.rows;
        END IF;
        CONTINUE WHEN found.rows = 0;
        FOR sequence IN
            SELECT s.oid::regclass AS name, a.attname AS used_by
            FROM pg_depend d JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S'
            JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
            WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid = found.relation
                AND d.deptype IN ('a', 'i')
        LOOP
            EXECUTE format('SELECT setval(%L, restored) FROM %s, (SELECT max(%I) AS restored FROM %s) AS copy
                WHERE restored > last_value', sequence.name, sequence.name, sequence.used_by, found.copy);
        END LOOP;
    END LOOP;
END
$$;
COMMIT;
