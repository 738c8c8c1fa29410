-- Automatic tenant isolation: every table with a column `tenant_id uuid` shows and accepts only the rows of the tenant
-- in `app.tenant_id`. An event trigger enforces it whenever a table is created or altered. Both functions run with the
-- caller's own privileges. Variables: none.

-- Isolates one table, whatever its state.
--
-- tenant_isolation is RESTRICTIVE: restrictive policies are combined with AND, permissive ones with OR. If it were the
-- only permissive policy, any other one would weaken it; restrictive policies can only narrow access. tenant_access
-- exists because without a permissive policy no row is visible. A service that needs further restrictions creates its
-- own AS RESTRICTIVE policies.
--
-- (SELECT …) makes the tenant a parameter that is computed once per execution instead of per row, so that an index on
-- tenant_id can be used. FORCE includes the owner, and therefore its views and SECURITY DEFINER functions.
--
-- tenant_access is dropped first and created last. While it is missing, the guard, which runs after each of these
-- steps, treats the table as not isolated yet and completes the work itself. Therefore every step checks the current
-- state first.
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

-- Runs after every DDL command: it isolates new tables, and a weakened table cancels the command. Problems that existed
-- before the guard and that it can't repair (a tenant_id of type text) are refused only if the command changes the
-- table, so that a database with two such tables can be repaired step by step; tenancy.audit() lists them.
--
-- It checks all tables, not only those of the command, because indirect changes (a type's attribute, a schema's
-- elements, DROP … CASCADE) aren't listed.
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
                HINT = 'Leave row-level security and the policies tenant_isolation and tenant_access to the schema '
                    'tenancy. If it was weakened before this command: run the provisioning task.';
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

    FOR found IN SELECT * FROM tenancy.exposed() e WHERE e.relation = ANY (touched) OR e.parent = ANY (touched) LOOP
        RAISE EXCEPTION 'tenant isolation: % would be read through %, which has no tenant_id',
            found.relation, found.parent
            USING ERRCODE = 'insufficient_privilege', HINT = 'Give the parent the column tenant_id of type uuid.';
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

SELECT 'CREATE EVENT TRIGGER tenancy_guard ON ddl_command_end EXECUTE FUNCTION tenancy.guard()'
WHERE NOT EXISTS (SELECT FROM pg_event_trigger WHERE evtname = 'tenancy_guard')
\gexec

-- Repairs existing tables in one transaction with the guard disabled: with two weakened tables, the guard would refuse
-- the repair of the first one.
ALTER EVENT TRIGGER tenancy_guard DISABLE;

SELECT format('SELECT %L FROM tenancy.protect(%L)',
    format('database %s: table %s is now isolated', current_database(), relation), relation)
FROM tenancy.tables() WHERE isolable AND NOT isolated ORDER BY relation::text
\gexec

SELECT format('ALTER VIEW %s SET (security_invoker = true)', relation),
    format('SELECT %L',
        format('database %s: view %s is now security_invoker', current_database(), relation))
FROM tenancy.views() WHERE NOT materialised AND NOT security_invoker ORDER BY relation::text
\gexec

ALTER EVENT TRIGGER tenancy_guard ENABLE;
