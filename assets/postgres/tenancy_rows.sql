-- The rows of one tenant in this database, for tenants.sh: where they are, how many, and how to delete them. And the
-- list of erased tenants. Variable: backup.

-- A restored backup contains rows of tenants that were erased after it was taken: this list is applied to it again.
CREATE TABLE IF NOT EXISTS tenancy.erased (
    tenant_id uuid PRIMARY KEY,
    requested_at timestamptz NOT NULL,
    verified_at timestamptz -- when no row was left for the first time; NULL if it wasn't completed
);

-- Adds a tenant to the list, or completes its entry. Only the backup role may call it, not the owner: the list of one
-- database is applied to all, so it must not be in the hands of a service.
CREATE OR REPLACE FUNCTION tenancy.record_erasure(tenant uuid, requested timestamptz, verified timestamptz)
    RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    INSERT INTO tenancy.erased AS e VALUES (tenant, requested, verified)
    ON CONFLICT (tenant_id) DO UPDATE SET
        requested_at = least(e.requested_at, excluded.requested_at),
        verified_at = least(e.verified_at, excluded.verified_at)
    $$;
REVOKE ALL ON FUNCTION tenancy.record_erasure FROM PUBLIC;
GRANT EXECUTE ON FUNCTION tenancy.record_erasure TO :"backup";

-- Lists the tables with tenants' rows, each row in one of them only: partitions are part of their partitioned table,
-- tables that inherit aren't part of their parent. `source` is the table as in FROM, `name` without quotes.
CREATE OR REPLACE FUNCTION tenancy.sources(OUT relation oid, OUT source text, OUT name text) RETURNS SETOF record
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT c.oid, CASE c.relkind WHEN 'r' THEN 'ONLY ' ELSE '' END || c.oid::regclass, n.nspname || '.' || c.relname
    FROM tenancy.tables() t JOIN pg_class c ON c.oid = t.relation JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE t.isolable AND NOT c.relispartition
    ORDER BY n.nspname, c.relname
    $$;

-- Lists the other tables. `is_tenants` if one may contain tenants' rows nevertheless: it has a similar column, or it is a
-- materialised view of isolated tables.
CREATE OR REPLACE FUNCTION tenancy.other_sources(OUT source text, OUT name text, OUT is_tenants boolean)
    RETURNS SETOF record
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE c.relkind WHEN 'r' THEN 'ONLY ' ELSE '' END || c.oid::regclass, n.nspname || '.' || c.relname, suspect
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    CROSS JOIN LATERAL (
        SELECT c.oid IN (SELECT t.relation FROM tenancy.tables() t)
            OR c.oid IN (SELECT v.relation FROM tenancy.views() v WHERE v.materialised) AS suspect) s
    WHERE (c.relkind IN ('r', 'p') OR suspect) AND NOT c.relispartition AND c.relpersistence <> 't'
        AND n.nspname NOT LIKE 'pg\_%' AND n.nspname NOT IN ('information_schema', 'tenancy')
        AND c.oid NOT IN (SELECT s.relation FROM tenancy.sources() s)
    ORDER BY n.nspname, c.relname
    $$;

-- Counts the tenants' rows, also of tables without any. Volatile: each query has a snapshot of its own, so that a table that
-- another session has just rewritten isn't counted as empty. With row_security off, a role whose rows the policies would
-- filter gets an error instead of a smaller number.
CREATE OR REPLACE FUNCTION tenancy.count_rows(tenants uuid[], OUT name text, OUT tenant uuid, OUT number bigint)
    RETURNS SETOF record
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET row_security = off AS $$
DECLARE
    found record;
BEGIN
    FOR found IN SELECT * FROM tenancy.sources() LOOP
        RETURN QUERY EXECUTE format(
            'SELECT %L, wanted, count(t.tenant_id) FROM unnest($1) AS wanted LEFT JOIN %s t ON t.tenant_id = wanted
            GROUP BY wanted ORDER BY wanted', found.name, found.source) USING tenants;
    END LOOP;
END
$$;

-- Counts rows of other tenants that refer to rows of this one, by a foreign key without tenant_id: deleting these would
-- fail, or delete or change the others' rows.
CREATE OR REPLACE FUNCTION tenancy.references_from_others(this uuid, OUT name text, OUT number bigint)
    RETURNS SETOF record
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET row_security = off AS $$
DECLARE
    found record;
BEGIN
    FOR found IN
        SELECT f.conname, f.conrelid::regclass AS child, f.confrelid::regclass AS parent, (
            SELECT string_agg(format('child.%I = parent.%I', a.attname, b.attname), ' AND ')
            FROM unnest(f.conkey, f.confkey) AS pair(child, parent)
            JOIN pg_attribute a ON a.attrelid = f.conrelid AND a.attnum = pair.child
            JOIN pg_attribute b ON b.attrelid = f.confrelid AND b.attnum = pair.parent) AS condition
        FROM pg_constraint f JOIN tenancy.tables() c ON c.relation = f.conrelid AND c.isolable
        JOIN tenancy.tables() p ON p.relation = f.confrelid AND p.isolable
        WHERE f.contype = 'f' AND f.conparentid = 0
        ORDER BY f.conname
    LOOP
        name := format('%s.%I', found.child, found.conname);
        EXECUTE format('SELECT count(*) FROM %s child JOIN %s parent ON %s
            WHERE parent.tenant_id = $1 AND child.tenant_id <> $1', found.child, found.parent, found.condition)
            INTO number USING this;
        IF number > 0 THEN
            RETURN NEXT;
        END IF;
    END LOOP;
END
$$;

-- Returns one statement that deletes the tenant's rows from every table and returns the number per table; NULL if there
-- is no table. PostgreSQL checks foreign keys at the end of a statement, so no order of the tables and no deferrable
-- constraint is needed, not even if tables refer to each other.
--
-- Not executed here, but as the owner with app.tenant_id set: the policies then limit it to this tenant, and triggers
-- don't run with more than their owner's rights, nor with this function's search_path.
CREATE OR REPLACE FUNCTION tenancy.erasure(tenant uuid) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT 'WITH ' || string_agg(format('d%s AS (DELETE FROM %s WHERE tenant_id = %L RETURNING 1)', relation, source,
            tenant), ', ') || ' '
        || string_agg(format('SELECT %L AS name, count(*) AS number FROM d%s', name, relation), ' UNION ALL ')
    FROM tenancy.sources()
    $$;

-- Waits until every transaction that wrote something before the call has ended: its rows become visible only then.
-- Returns false if one hasn't ended after `seconds`.
CREATE OR REPLACE FUNCTION tenancy.await_writers(seconds int) RETURNS boolean
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    next xid8 := pg_snapshot_xmax(pg_current_snapshot());
BEGIN
    WHILE pg_snapshot_xmin(pg_current_snapshot()) < next LOOP
        IF clock_timestamp() > now() + make_interval(secs => seconds) THEN
            RETURN false;
        END IF;
        PERFORM pg_sleep(0.1);
    END LOOP;
    RETURN true;
END
$$;
