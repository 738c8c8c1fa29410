-- Tenant isolation that no service can forget: every table with a column `tenant_id uuid` shows and takes only the
-- rows of the tenant named in `app.tenant_id`. An event trigger sees to it whenever a table is made or altered.
-- Both functions run with the caller's own rights. Variables: none.

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
--
-- It looks at all tables, not only at those the command names: what reaches a table by way of something else
-- (a type's attribute, a schema's elements, DROP … CASCADE) has no list of its own.
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

-- What is there already, mended in one transaction and with the guard out of the way: it would refuse to see the
-- first of two weakened tables mended while the second isn't.
ALTER EVENT TRIGGER tenancy_guard DISABLE;

SELECT format('SELECT %L FROM tenancy.protect(%L)',
    format('database %s: table %s was not isolated, now it is', current_database(), relation), relation)
FROM tenancy.tables() WHERE isolable AND NOT isolated ORDER BY relation::text
\gexec

SELECT format('ALTER VIEW %s SET (security_invoker = true)', relation),
    format('SELECT %L',
        format('database %s: view %s was not security_invoker, now it is', current_database(), relation))
FROM tenancy.views() WHERE NOT materialised AND NOT security_invoker ORDER BY relation::text
\gexec

ALTER EVENT TRIGGER tenancy_guard ENABLE;
