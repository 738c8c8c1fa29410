-- One line per fact about this database that a restore must bring back besides the rows: owners, grants, settings, row
-- security and its policies, extensions, sequences, triggers. A backup contains the lines, and the drill compares them with
-- those of the restored database. Objects of extensions are left out, because the extension creates them. The values of
-- sequences are left out, because they change independently of the backup's snapshot.
SET search_path = pg_catalog, pg_temp;
-- Parts of the query, because the backup role can't create functions: the grants in `acl`, and whether `object` of `class` in
-- `schema` belongs to neither the server nor an extension.
\set grants '(SELECT string_agg(concat_ws($$ $$, coalesce(nullif(grantee, 0)::regrole::text, $$PUBLIC$$), privilege_type, CASE WHEN is_grantable THEN $$with grant option$$ END), $$, $$ ORDER BY grantee::regrole::text, privilege_type) FROM aclexplode(acl))'
\set is_own '(schema NOT IN (SELECT oid FROM pg_namespace WHERE nspname ~ $$^pg_|^information_schema$$) AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = class AND objid = object AND deptype = $$e$$))'
SELECT replace(replace(fact, E'\\', E'\\\\'), E'\n', '\n') FROM (
    SELECT format('database: owner %s, connections %s, encoding %s, grants %s', datdba::regrole, datconnlimit,
        pg_encoding_to_char(encoding), :grants) AS fact
    FROM (SELECT *, coalesce(datacl, acldefault('d', datdba)) AS acl FROM pg_database) d WHERE datname = current_database()
    UNION ALL
    SELECT format('default of %s: %s', coalesce(nullif(setrole, 0)::regrole::text, 'every role'), setting)
    FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase, unnest(setconfig) AS setting
    WHERE datname = current_database()
    UNION ALL
    SELECT format('schema %I: owner %s, grants %s', nspname, nspowner::regrole, :grants)
    FROM (SELECT *, oid AS schema, 'pg_namespace'::regclass AS class, oid AS object, coalesce(nspacl, acldefault('n', nspowner)) AS acl
        FROM pg_namespace) n WHERE :is_own
    UNION ALL
    SELECT format('relation %s (%s): owner %s, row security %s, forced %s, options %s, grants %s', object::regclass, relkind,
        relowner::regrole, relrowsecurity, relforcerowsecurity, reloptions, :grants)
    FROM (SELECT *, relnamespace AS schema, 'pg_class'::regclass AS class, oid AS object,
            coalesce(relacl, acldefault(CASE relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", relowner)) AS acl
        FROM pg_class) c WHERE relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND relpersistence <> 't' AND :is_own
    UNION ALL
    SELECT format('column %s.%I: grants %s', object::regclass, attname, :grants)
    FROM (SELECT attname, relnamespace AS schema, 'pg_class'::regclass AS class, c.oid AS object, attacl AS acl
        FROM pg_attribute JOIN pg_class c ON c.oid = attrelid) a WHERE acl IS NOT NULL AND :is_own
    UNION ALL
    SELECT format('policy %I of %s: permissive %s, command %s, roles %s, using %s, check %s', polname, polrelid::regclass,
        polpermissive, polcmd, (SELECT string_agg(coalesce(nullif(one, 0)::regrole::text, 'PUBLIC'), ', ' ORDER BY
            one::regrole::text) FROM unnest(polroles) one), pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid))
    FROM pg_policy
    UNION ALL
    SELECT format('constraint %I of %s: %s, validated %s', conname, conrelid::regclass, contype, convalidated)
    FROM (SELECT *, connamespace AS schema, 'pg_class'::regclass AS class, conrelid AS object FROM pg_constraint) c
    WHERE conrelid <> 0 AND contype <> 'n' AND :is_own
    UNION ALL
    SELECT format('index %s of %s: valid %s', indexrelid::regclass, indrelid::regclass, indisvalid)
    FROM (SELECT i.*, relnamespace AS schema, 'pg_class'::regclass AS class, indrelid AS object
        FROM pg_index i JOIN pg_class c ON c.oid = indexrelid) i WHERE :is_own
    UNION ALL
    SELECT format('function %s: owner %s, security definer %s, settings %s, grants %s', object::regprocedure, proowner::regrole,
        prosecdef, proconfig, :grants)
    FROM (SELECT *, pronamespace AS schema, 'pg_proc'::regclass AS class, oid AS object, coalesce(proacl, acldefault('f', proowner)) AS acl
        FROM pg_proc) p WHERE :is_own
    UNION ALL
    SELECT format('sequence %s: %s from %s by %s, %s to %s, cycles %s', object::regclass, format_type(seqtypid, NULL), seqstart,
        seqincrement, seqmin, seqmax, seqcycle)
    FROM (SELECT s.*, relpersistence, relnamespace AS schema, 'pg_class'::regclass AS class, seqrelid AS object
        FROM pg_sequence s JOIN pg_class c ON c.oid = seqrelid) s WHERE relpersistence <> 't' AND :is_own
    UNION ALL
    SELECT format('trigger %I of %s: %s', tgname, tgrelid::regclass, tgenabled) FROM pg_trigger WHERE NOT tgisinternal
    UNION ALL
    SELECT format('event trigger %I: owner %s, %s, %s', evtname, evtowner::regrole, evtevent, evtenabled) FROM pg_event_trigger
    UNION ALL
    SELECT format('extension %I: version %s, schema %s', extname, extversion, extnamespace::regnamespace) FROM pg_extension
    UNION ALL
    SELECT format('type %s: owner %s', object::regtype, typowner::regrole)
    FROM (SELECT *, typnamespace AS schema, 'pg_type'::regclass AS class, oid AS object FROM pg_type) t
    WHERE typtype IN ('d', 'e', 'r') AND :is_own
    UNION ALL
    SELECT format('default grants of %s in %s on %s: %s', defaclrole::regrole, coalesce(nullif(defaclnamespace, 0)::regnamespace::text, '-'),
        defaclobjtype, :grants)
    FROM (SELECT *, defaclacl AS acl FROM pg_default_acl) d
) AS facts ORDER BY fact COLLATE "C";
SELECT 'end';
