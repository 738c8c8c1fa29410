-- The schema tenancy: which tables in this database are isolated. tenancy_guard.sql enforces it.
-- Every function resolves and deparses names with a fixed search_path. Variable: owner.

CREATE SCHEMA IF NOT EXISTS tenancy;
-- The database's owner could have created a schema of this name first, and would then own the guard.
ALTER SCHEMA tenancy OWNER TO CURRENT_USER;
REVOKE ALL ON SCHEMA tenancy FROM PUBLIC;
GRANT USAGE ON SCHEMA tenancy TO PUBLIC;

-- Returns the tenant of this transaction, or NULL, which is equal to no value. After a committed SET LOCAL, the setting
-- is empty instead of unset, hence nullif. STABLE and a plain SQL body, so that the planner inlines it.
CREATE OR REPLACE FUNCTION tenancy.current_tenant() RETURNS uuid
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN nullif(pg_catalog.current_setting('app.tenant_id', true), '')::uuid;

-- Lists every table that has a tenant column, or a similar column, or one of the policies below.
--   isolable  the column has the name and the type that the policy requires
--   marked    tenant_access exists, which protect() creates last: the table was isolated before
--   ruled     tenant_isolation exists and equals the policy that protect() would create
--   isolated  the table has exactly the flags and the two policies that protect() creates
CREATE OR REPLACE FUNCTION tenancy.tables(
    OUT relation regclass, OUT owner oid, OUT column_name name, OUT column_type text,
    OUT isolable boolean, OUT marked boolean, OUT ruled boolean, OUT isolated boolean
) RETURNS SETOF record
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off AS $$
    SELECT c.oid, c.relowner, a.attname, format_type(a.atttypid, a.atttypmod), i.isolable, p.marked, p.ruled,
        i.isolable AND c.relrowsecurity AND c.relforcerowsecurity AND p.ruled AND p.open
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    -- Object mappers may name it tenantId or TenantID: these are detected, so that they can be refused.
    LEFT JOIN LATERAL (
        SELECT attname, atttypid, atttypmod FROM pg_attribute
        WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped AND replace(lower(attname), '_', '') = 'tenantid'
        ORDER BY attname = 'tenant_id' DESC LIMIT 1
    ) a ON true
    CROSS JOIN LATERAL (
        SELECT coalesce(c.relkind IN ('r', 'p') AND a.attname = 'tenant_id' AND a.atttypid = 'uuid'::regtype, false)
            AS isolable
    ) i
    CROSS JOIN LATERAL (
        SELECT
            coalesce(bool_or(polname = 'tenant_access'), false) AS marked,
            coalesce(bool_or(polname = 'tenant_isolation' AND NOT polpermissive AND polcmd = '*' AND polroles = '{0}'
                AND pg_get_expr(polqual, polrelid) = rule AND pg_get_expr(polwithcheck, polrelid) = rule), false)
                AS ruled,
            coalesce(bool_or(polname = 'tenant_access' AND polpermissive AND polcmd = '*' AND polroles = '{0}'
                AND pg_get_expr(polqual, polrelid) = 'true' AND pg_get_expr(polwithcheck, polrelid) = 'true'), false)
                AS open
        FROM pg_policy, (SELECT '(tenant_id = ( SELECT tenancy.current_tenant() AS current_tenant))') AS r(rule)
        WHERE polrelid = c.oid
    ) p
    WHERE c.relkind IN ('r', 'p', 'f') AND c.relpersistence <> 't'
        AND n.nspname NOT LIKE 'pg\_%' AND n.nspname NOT IN ('information_schema', 'tenancy')
        AND (a.attname IS NOT NULL OR p.marked)
    $$;

-- Lists tables that are read through a parent: a query of the parent applies the parent's policies, not those of the
-- children.
CREATE OR REPLACE FUNCTION tenancy.exposed(OUT relation regclass, OUT owner oid, OUT parent regclass)
    RETURNS SETOF record
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT t.relation, t.owner, i.inhparent
    FROM tenancy.tables() t JOIN pg_inherits i ON i.inhrelid = t.relation
    WHERE i.inhparent NOT IN (SELECT p.relation FROM tenancy.tables() p WHERE p.isolable)
    $$;

-- Lists views and materialised views that read an isolated table, directly or through other views.
CREATE OR REPLACE FUNCTION tenancy.views(
    OUT relation regclass, OUT owner oid, OUT materialised boolean, OUT security_invoker boolean
) RETURNS SETOF record
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    WITH RECURSIVE reads (reader, source) AS (
        SELECT r.ev_class, d.refobjid
        FROM pg_depend d JOIN pg_rewrite r ON r.oid = d.objid
        WHERE d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass AND r.ev_class <> d.refobjid
    ), reader (oid) AS (
        SELECT reads.reader FROM tenancy.tables() t JOIN reads ON reads.source = t.relation
        UNION
        SELECT reads.reader FROM reader JOIN reads ON reads.source = reader.oid
    )
    SELECT c.oid, c.relowner, c.relkind = 'm',
        coalesce((SELECT option_value::boolean FROM pg_options_to_table(c.reloptions)
            WHERE option_name = 'security_invoker'), false)
    FROM reader JOIN pg_class c ON c.oid = reader.oid
    WHERE c.relkind IN ('v', 'm') AND c.relpersistence <> 't'
    $$;

-- Returns the tenants with rows in a table. Only for migrations: they must change rows tenant by tenant, because the
-- owner is restricted too, and in most databases no other table lists the tenants. The function runs with the
-- superuser's privileges, so it refuses views and foreign tables: no code of the caller may run.
CREATE OR REPLACE FUNCTION tenancy.tenants(target regclass) RETURNS SETOF uuid
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM tenancy.tables() t WHERE t.relation = target AND t.isolable) THEN
        RAISE EXCEPTION 'tenant isolation: % has no column tenant_id of type uuid', target
            USING ERRCODE = 'wrong_object_type';
    END IF;
    RETURN QUERY EXECUTE format('SELECT DISTINCT tenant_id FROM %s WHERE tenant_id IS NOT NULL ORDER BY 1', target);
END
$$;
REVOKE ALL ON FUNCTION tenancy.tenants(regclass) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION tenancy.tenants(regclass) TO :"owner";
