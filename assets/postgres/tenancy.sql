-- Tenant isolation that no service can forget: every table with a column `tenant_id uuid` shows and takes only
-- the rows of the tenant named in `app.tenant_id`. An event trigger sees to it whenever a table is made or altered.
-- Everything here runs with the caller's own rights, and deparses and resolves names with a pinned search_path.
-- Variables: none.

CREATE SCHEMA IF NOT EXISTS tenancy;
-- The database's owner could have made a schema of this name first, and would then own the guard.
ALTER SCHEMA tenancy OWNER TO CURRENT_USER;
REVOKE ALL ON SCHEMA tenancy FROM PUBLIC;
GRANT USAGE ON SCHEMA tenancy TO PUBLIC;

-- The tenant of this transaction, or NULL, which equals nothing. After a committed SET LOCAL the setting is not
-- unset but empty: nullif. STABLE and a plain SQL body, so that the planner inlines it.
CREATE OR REPLACE FUNCTION tenancy.current_tenant() RETURNS uuid
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN nullif(pg_catalog.current_setting('app.tenant_id', true), '')::uuid;

-- Every table that has a tenant column, or something like one, or carries our policies.
--   isolable  the column has the name and the type the policy needs
--   marked    tenant_access is there, which protect() creates last: it was isolated once
--   ruled     tenant_isolation is there and says what protect() would write
--   isolated  exactly what protect() makes, flags and both policies
CREATE OR REPLACE FUNCTION tenancy.tables(
    OUT relation regclass, OUT owner oid, OUT column_name name, OUT column_type text,
    OUT isolable boolean, OUT marked boolean, OUT ruled boolean, OUT isolated boolean
) RETURNS SETOF record
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
    SELECT c.oid, c.relowner, a.attname, format_type(a.atttypid, a.atttypmod), i.isolable, p.marked, p.ruled,
        i.isolable AND c.relrowsecurity AND c.relforcerowsecurity AND p.ruled AND p.open
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    -- tenantId and TenantID are what object mappers make of it: seen, so that they can be refused.
    LEFT JOIN LATERAL (
        SELECT attname, atttypid, atttypmod FROM pg_attribute
        WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped AND replace(lower(attname), '_', '') = 'tenantid'
        ORDER BY attname = 'tenant_id' DESC LIMIT 1
    ) a ON true
    LEFT JOIN pg_type t ON t.oid = a.atttypid
    CROSS JOIN LATERAL (
        SELECT coalesce(c.relkind IN ('r', 'p') AND a.attname = 'tenant_id'
            AND 'uuid'::regtype IN (t.oid, t.typbasetype), false) AS isolable
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
        AND (a.attname IS NOT NULL OR p.marked);
    END;

-- Views and materialised views that read such a table, also through other views.
CREATE OR REPLACE FUNCTION tenancy.views(
    OUT relation regclass, OUT owner oid, OUT materialised boolean, OUT security_invoker boolean
) RETURNS SETOF record
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
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
    WHERE c.relkind IN ('v', 'm') AND c.relpersistence <> 't';
    END;

-- Puts one table under isolation, from whatever state it is in.
--
-- tenant_isolation is RESTRICTIVE: policies of that kind are joined by AND, permissive ones by OR. As the only
-- permissive policy it would be undone by the next one somebody adds; a restrictive one can be narrowed, never
-- widened. tenant_access is there because without any permissive policy no row is seen at all. A service that wants
-- to narrow further writes AS RESTRICTIVE policies of its own.
--
-- (SELECT …) makes the tenant a parameter that is computed once per execution, not per row, and lets an index on
-- tenant_id serve it. FORCE includes the owner, and so its views and SECURITY DEFINER functions.
--
-- tenant_access goes first and comes last. While it is missing the guard, which each of these steps fires, takes
-- the table for one that isn't isolated yet and finishes the work itself: hence every step looks before it leaps.
CREATE OR REPLACE FUNCTION tenancy.protect(target regclass) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    state record;
BEGIN
    SELECT * INTO state FROM tenancy.tables() t WHERE t.relation = target;
    IF state.isolable IS NOT TRUE THEN
        RAISE EXCEPTION 'tenant isolation: % has no column tenant_id of type uuid', target
            USING ERRCODE = 'wrong_object_type';
    ELSIF state.isolated THEN
        RETURN;
    END IF;

    IF state.marked THEN
        EXECUTE format('DROP POLICY tenant_access ON %s', target);
    END IF;
    IF NOT (SELECT relrowsecurity AND relforcerowsecurity FROM pg_class WHERE oid = target) THEN
        EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', target);
    END IF;
    IF EXISTS (SELECT FROM pg_policy WHERE polrelid = target AND polname = 'tenant_isolation')
        AND NOT (SELECT ruled FROM tenancy.tables() t WHERE t.relation = target) THEN
        EXECUTE format('DROP POLICY tenant_isolation ON %s', target);
    END IF;
    IF NOT EXISTS (SELECT FROM pg_policy WHERE polrelid = target AND polname = 'tenant_isolation') THEN
        EXECUTE format('CREATE POLICY tenant_isolation ON %s AS RESTRICTIVE
            USING (tenant_id = (SELECT tenancy.current_tenant()))
            WITH CHECK (tenant_id = (SELECT tenancy.current_tenant()))', target);
    END IF;
    IF NOT EXISTS (SELECT FROM pg_policy WHERE polrelid = target AND polname = 'tenant_access') THEN
        EXECUTE format('CREATE POLICY tenant_access ON %s USING (true) WITH CHECK (true)', target);
    END IF;

    IF NOT (SELECT isolated FROM tenancy.tables() t WHERE t.relation = target) THEN
        RAISE EXCEPTION 'tenant isolation: % could not be isolated', target;
    END IF;
END
$$;

-- After every DDL command: new tables are isolated, a weakened one undoes the command. What was wrong before the
-- guard came and can't be mended by it (a tenant_id of type text) is refused only when the command touches it, so
-- that a database with two such tables can still be put right one after the other; tenancy.audit() lists them.
CREATE OR REPLACE FUNCTION tenancy.guard() RETURNS event_trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    found record;
    touched oid[];
BEGIN
    IF tg_tag IN ('CREATE INDEX', 'DROP INDEX', 'REINDEX', 'COMMENT', 'GRANT', 'REVOKE', 'ALTER DEFAULT PRIVILEGES',
        'CREATE FUNCTION', 'CREATE SEQUENCE', 'ALTER SEQUENCE', 'CREATE TRIGGER', 'REFRESH MATERIALIZED VIEW') THEN
        RETURN;
    END IF;
    touched := ARRAY(SELECT objid FROM pg_event_trigger_ddl_commands() WHERE classid = 'pg_class'::regclass);

    FOR found IN SELECT * FROM tenancy.tables() t WHERE NOT t.isolated AND pg_has_role(t.owner, 'USAGE') LOOP
        IF found.marked AND found.isolable THEN
            RAISE EXCEPTION 'tenant isolation of % can''t be switched off or altered', found.relation
                USING ERRCODE = 'insufficient_privilege',
                HINT = 'Leave row-level security and the policies tenant_isolation and tenant_access to the schema tenancy.';
        ELSIF found.marked THEN
            RAISE EXCEPTION 'tenant isolation: % can''t lose its column tenant_id', found.relation
                USING ERRCODE = 'insufficient_privilege', HINT = 'Make a new table for rows that belong to no tenant.';
        ELSIF found.isolable THEN
            PERFORM tenancy.protect(found.relation);
        ELSIF found.relation = ANY (touched) THEN
            RAISE EXCEPTION 'tenant isolation: column % of % (%) can''t isolate it',
                quote_ident(found.column_name), found.relation, found.column_type
                USING ERRCODE = 'insufficient_privilege',
                HINT = 'An ordinary table with a column tenant_id of type uuid is isolated by itself.';
        END IF;
    END LOOP;

    FOR found IN SELECT * FROM tenancy.views() v WHERE NOT v.security_invoker AND pg_has_role(v.owner, 'USAGE') LOOP
        IF NOT found.materialised THEN
            EXECUTE format('ALTER VIEW %s SET (security_invoker = true)', found.relation);
        ELSIF found.relation = ANY (touched) THEN
            RAISE EXCEPTION 'tenant isolation: materialised view % would copy rows out of it', found.relation
                USING ERRCODE = 'insufficient_privilege',
                HINT = 'Use a view, or a table with tenant_id that the application fills.';
        END IF;
    END LOOP;
END
$$;

SELECT format('ALTER FUNCTION %s OWNER TO CURRENT_USER', oid::regprocedure)
FROM pg_proc WHERE pronamespace = 'tenancy'::regnamespace AND proowner <> current_user::regrole
\gexec
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA tenancy TO PUBLIC;

-- What is there already, mended in one transaction and with the guard out of the way: it would refuse the repair.
DO $$
DECLARE
    found record;
BEGIN
    DROP EVENT TRIGGER IF EXISTS tenancy_guard;

    FOR found IN SELECT * FROM tenancy.tables() t WHERE t.isolable AND NOT t.isolated LOOP
        PERFORM tenancy.protect(found.relation);
        RAISE WARNING '%: table % was not isolated, now it is', current_database(), found.relation;
    END LOOP;
    FOR found IN SELECT * FROM tenancy.views() v WHERE NOT v.materialised AND NOT v.security_invoker LOOP
        EXECUTE format('ALTER VIEW %s SET (security_invoker = true)', found.relation);
    END LOOP;

    CREATE EVENT TRIGGER tenancy_guard ON ddl_command_end EXECUTE FUNCTION tenancy.guard();
EXCEPTION WHEN insufficient_privilege THEN
    RAISE EXCEPTION 'the administrator % may not keep tenants apart in %: %', current_user, current_database(), sqlerrm
        USING HINT = 'An event trigger needs a superuser, or a provider that lets its administrator create one.';
END
$$;
