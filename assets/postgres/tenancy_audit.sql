-- Remaining ways in which one tenant could see or infer rows of another in this database. A database without findings
-- returns no row. The audit only reads catalogs and no tenant's rows; any role that may connect can run it. Each kind
-- of finding is a separate query. Variables: app, backup.
CREATE OR REPLACE FUNCTION tenancy.audit(
    app_role name DEFAULT :'app', backup_role name DEFAULT :'backup',
    OUT object text, OUT problem text, OUT remedy text
) RETURNS SETOF record
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    WITH relation AS (
        SELECT c.*, n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname NOT LIKE 'pg\_%' AND n.nspname NOT IN ('information_schema', 'tenancy')
            AND c.relpersistence <> 't'
            AND NOT EXISTS (SELECT FROM pg_depend d
                WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
    ), tenant_column AS (
        SELECT t.relation, a.attnum FROM tenancy.tables() t
        JOIN pg_attribute a ON a.attrelid = t.relation AND a.attname = t.column_name WHERE t.isolable
    ), unfiltered AS (
        SELECT oid, rolname FROM pg_roles WHERE rolsuper OR rolbypassrls
    )

    SELECT t.relation::text, 'has a tenant column but is not isolated',
        format('as its owner: SELECT tenancy.protect(%L)', t.relation)
    FROM tenancy.tables() t WHERE t.isolable AND NOT t.isolated
    UNION ALL
    SELECT t.relation::text, CASE WHEN t.column_name IS NULL THEN 'had a tenant column and has none now'
        ELSE format('its column %I of type %s can''t isolate it', t.column_name, t.column_type) END,
        'make it an ordinary table with a column tenant_id of type uuid'
    FROM tenancy.tables() t WHERE NOT t.isolable

    UNION ALL
    SELECT e.relation::text, format('is read through %s, which has no tenant_id', e.parent),
        'give the parent the column tenant_id of type uuid'
    FROM tenancy.exposed() e

    -- A unique index reports a conflict with rows that the tenant can't see. A primary key of one random uuid is
    -- accepted: only a client that knows the ID can test for it.
    UNION ALL
    SELECT i.indexrelid::regclass::text, format('is unique across the tenants of %s', i.indrelid::regclass),
        'put tenant_id into the unique key'
    FROM pg_index i JOIN tenant_column t ON t.relation = i.indrelid
    WHERE (i.indisunique OR i.indisexclusion)
        AND NOT EXISTS (SELECT FROM pg_inherits WHERE inhrelid = i.indexrelid) -- The partitioned index reports it.
        AND NOT (t.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1]))
        AND NOT (i.indisprimary AND i.indnkeyatts = 1 AND EXISTS (SELECT FROM pg_attribute a
            WHERE a.attrelid = i.indrelid AND a.attnum = i.indkey[0] AND a.atttypid = 'uuid'::regtype))

    -- Foreign keys are checked without row-level security: they reveal whether a row exists and connect tenants' rows.
    UNION ALL
    SELECT f.conrelid::regclass::text || '.' || quote_ident(f.conname),
        CASE WHEN mine.attnum IS NULL
            THEN format('refers to %s, whose rows belong to tenants, from a table without tenant_id', theirs.relation)
            ELSE format('can refer to another tenant''s row in %s', theirs.relation) END,
        format('add tenant_id to the foreign key, on both sides: (tenant_id, …) REFERENCES %s (tenant_id, …)',
            theirs.relation)
    FROM pg_constraint f JOIN tenant_column theirs ON theirs.relation = f.confrelid
    LEFT JOIN tenant_column mine ON mine.relation = f.conrelid
    WHERE f.contype = 'f' AND f.conparentid = 0 AND NOT EXISTS (
        SELECT FROM unnest(f.conkey, f.confkey) AS pair(child, parent)
        WHERE pair.child = mine.attnum AND pair.parent = theirs.attnum)

    UNION ALL
    SELECT v.relation::text,
        CASE WHEN v.materialised THEN 'keeps copies of rows of several tenants, unfiltered'
            ELSE 'is read with its owner''s rights' END,
        CASE WHEN v.materialised THEN 'use a view, or a table with tenant_id'
            ELSE format('ALTER VIEW %s SET (security_invoker = true)', v.relation) END
    FROM tenancy.views() v WHERE NOT v.security_invoker

    -- A SECURITY DEFINER function gives the application the privileges of its owner: TRUNCATE in any case, and every
    -- row if the owner is a superuser. A trigger runs its function whether or not the application may execute it.
    UNION ALL
    SELECT p.oid::regprocedure::text, format('runs with the rights of %s%s', p.proowner::regrole,
            CASE WHEN u.oid IS NULL THEN '' ELSE ', who sees every tenant' END),
        CASE WHEN executable
            THEN format('SECURITY INVOKER, or REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC, %I', p.oid::regprocedure,
                app_role)
            ELSE 'SECURITY INVOKER, or give it to the owner role: a trigger calls it' END
    FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace LEFT JOIN unfiltered u ON u.oid = p.proowner
    JOIN pg_roles a ON a.rolname = app_role, has_function_privilege(a.oid, p.oid, 'EXECUTE') AS executable
    WHERE p.prosecdef
        AND (executable OR u.oid IS NOT NULL AND EXISTS (SELECT FROM pg_trigger t WHERE t.tgfoid = p.oid))
        AND n.nspname NOT LIKE 'pg\_%' AND n.nspname NOT IN ('information_schema', 'tenancy')
        AND NOT EXISTS (SELECT FROM pg_depend e
            WHERE e.classid = 'pg_proc'::regclass AND e.objid = p.oid AND e.deptype = 'e')
    -- The planner may call a LEAKPROOF function for rows that the policy then removes. Only a superuser can declare one.
    UNION ALL
    SELECT p.oid::regprocedure::text, 'is LEAKPROOF: queries may call it before the policies remove other tenants'' rows',
        format('ALTER FUNCTION %s NOT LEAKPROOF', p.oid::regprocedure)
    FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
    WHERE p.proleakproof AND n.nspname NOT LIKE 'pg\_%' AND n.nspname <> 'information_schema'
        AND NOT EXISTS (SELECT FROM pg_depend e
            WHERE e.classid = 'pg_proc'::regclass AND e.objid = p.oid AND e.deptype = 'e')

    -- Data that policies don't apply to.
    UNION ALL
    SELECT p.pubname::text, format('publishes the rows of every tenant of %s', t.relation),
        format('DROP PUBLICATION %I, unless its subscriber may read them', p.pubname)
    FROM pg_publication_tables p JOIN relation r ON r.nspname = p.schemaname AND r.relname = p.tablename
    JOIN tenant_column t ON t.relation = r.oid
    UNION ALL
    SELECT 'large objects', format('there are %s, which belong to no tenant', count(*)),
        'store them in a bytea column of a table with tenant_id'
    FROM pg_largeobject_metadata HAVING count(*) > 0
    UNION ALL
    SELECT s.srvname::text, 'reads rows through another connection, as another role',
        format('DROP SERVER %I CASCADE, unless nobody reads tenants'' rows through it', s.srvname)
    FROM pg_foreign_server s

    -- FORCE ROW LEVEL SECURITY applies to an ordinary owner, not to a superuser.
    UNION ALL
    SELECT r.oid::regclass::text, format('belongs to %s', u.rolname),
        format('ALTER TABLE %s OWNER TO %I', r.oid::regclass, o.rolname)
    FROM relation r JOIN unfiltered u ON u.oid = r.relowner
    JOIN pg_database d ON d.datname = current_database() JOIN pg_roles o ON o.oid = d.datdba
    WHERE r.relkind IN ('r', 'p', 'v', 'm', 'f')

    -- Privileges of the application role.
    UNION ALL
    SELECT app_role::text, format('owns %s', pg_describe_object(s.classid, s.objid, 0)), 'give it to the owner role'
    FROM pg_shdepend s JOIN pg_roles a ON a.oid = s.refobjid JOIN pg_database d ON d.datname = current_database()
    WHERE s.refclassid = 'pg_authid'::regclass AND s.deptype = 'o' AND a.rolname = app_role AND s.dbid IN (0, d.oid)
    UNION ALL
    SELECT app_role::text, format('may %s %s', string_agg(acl.privilege_type, ', ' ORDER BY acl.privilege_type),
        r.oid::regclass), 'revoke it: the application reads and writes rows, no more'
    FROM relation r, aclexplode(r.relacl) AS acl JOIN pg_roles a ON acl.grantee IN (a.oid, 0)
    WHERE a.rolname = app_role AND r.relkind IN ('r', 'p', 'v', 'm', 'f')
        AND acl.privilege_type NOT IN ('SELECT', 'INSERT', 'UPDATE', 'DELETE')
    GROUP BY r.oid
    UNION ALL
    SELECT app_role::text, format('may create in schema %I', n.nspname), 'revoke it'
    FROM pg_namespace n JOIN pg_roles a ON a.rolname = app_role
    WHERE n.nspname NOT LIKE 'pg\_%' AND n.nspname <> 'information_schema'
        AND has_schema_privilege(a.oid, n.oid, 'CREATE')
    UNION ALL
    SELECT app_role::text, format('is a member of %s', g.rolname), format('REVOKE %I FROM %I', g.rolname, app_role)
    FROM pg_auth_members m JOIN pg_roles a ON a.oid = m.member JOIN pg_roles g ON g.oid = m.roleid
    WHERE a.rolname = app_role

    -- Roles of the server.
    UNION ALL
    SELECT u.rolname::text, 'sees every tenant', format('ALTER ROLE %I NOSUPERUSER NOBYPASSRLS', u.rolname)
    FROM unfiltered u
    WHERE u.rolname <> backup_role AND u.oid <> 10 -- initdb's superuser has the oid 10
        AND u.oid <> (SELECT nspowner FROM pg_namespace WHERE nspname = 'tenancy') -- the provisioning role
    -- Attributes aren't inherited, but SET ROLE works. A role that reads the server's files reads every row in them.
    UNION ALL
    SELECT m.rolname::text, format('can become %s, who sees every tenant', g.rolname),
        format('revoke its membership in %I', g.rolname)
    FROM pg_roles g JOIN pg_roles m ON m.oid <> g.oid AND pg_has_role(m.oid, g.oid, 'MEMBER')
    WHERE (g.rolsuper OR g.rolbypassrls
            OR g.rolname IN ('pg_read_server_files', 'pg_write_server_files', 'pg_execute_server_program'))
        AND m.rolcanlogin AND NOT m.rolsuper AND m.rolname <> backup_role
    UNION ALL
    SELECT r.rolname::text, 'may replicate the rows of every tenant',
        format('REVOKE CONNECT ON DATABASE %I FROM %I', current_database(), r.rolname)
    FROM pg_roles r
    WHERE r.rolreplication AND NOT r.rolsuper AND has_database_privilege(r.oid, current_database(), 'CONNECT')

    -- Settings of the database and the server. These two disable the guard.
    UNION ALL
    SELECT coalesce(r.rolname, d.datname, 'the server')::text, format('has the default %s', setting),
        format('RESET %s', split_part(setting, '=', 1))
    FROM pg_db_role_setting s LEFT JOIN pg_roles r ON r.oid = s.setrole LEFT JOIN pg_database d ON d.oid = s.setdatabase,
        unnest(s.setconfig) AS setting
    WHERE (s.setdatabase = 0 OR d.datname = current_database())
        AND split_part(setting, '=', 1) IN ('session_replication_role', 'event_triggers')
    UNION ALL
    SELECT coalesce(r.rolname, 'PUBLIC')::text, format('may set %s, which disables the guard', p.parname),
        format('REVOKE SET ON PARAMETER %s FROM %s', p.parname, coalesce(quote_ident(r.rolname), 'PUBLIC'))
    FROM pg_parameter_acl p, aclexplode(p.paracl) AS acl LEFT JOIN pg_roles r ON r.oid = acl.grantee
    WHERE p.parname IN ('session_replication_role', 'event_triggers') AND acl.privilege_type = 'SET'
        AND r.rolsuper IS NOT TRUE
    UNION ALL
    SELECT current_database()::text, 'lets every role connect', format('REVOKE ALL ON DATABASE %I FROM PUBLIC', datname)
    FROM pg_database
    WHERE datname = current_database()
        AND EXISTS (SELECT FROM aclexplode(coalesce(datacl, acldefault('d', datdba))) WHERE grantee = 0)
    UNION ALL
    SELECT coalesce(r.rolname, d.datname, 'the server')::text, 'has a tenant by default', 'RESET app.tenant_id'
    FROM pg_db_role_setting s LEFT JOIN pg_roles r ON r.oid = s.setrole LEFT JOIN pg_database d ON d.oid = s.setdatabase
    WHERE (s.setdatabase = 0 OR d.datname = current_database())
        AND EXISTS (SELECT FROM unnest(s.setconfig) AS setting WHERE setting LIKE 'app.tenant_id=%')
    UNION ALL
    SELECT 'tenancy_guard', 'does not watch over this database', 'run the provisioning task'
    WHERE NOT EXISTS (SELECT FROM pg_event_trigger
        WHERE evtfoid = 'tenancy.guard'::regproc AND evtevent = 'ddl_command_end' AND evtenabled IN ('O', 'A')
            AND evttags IS NULL)
        OR current_setting('event_triggers', true) = 'off' -- since PostgreSQL 17
    $$;
ALTER FUNCTION tenancy.audit OWNER TO CURRENT_USER;
GRANT EXECUTE ON FUNCTION tenancy.audit TO PUBLIC;
