-- Refuses a database that isn't the complete copy of restore_tenant.sh. Another restore, in the container of the backups or of
-- the archive, may have put its own in its place. Variable: mark, the comment of the complete copy.
SELECT set_config('restore.mark', :'mark', false) \g /dev/null
DO $$
BEGIN
    IF (SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = current_database())
        IS DISTINCT FROM current_setting('restore.mark') THEN
        RAISE EXCEPTION '% is of another restore, which runs at the same time', current_database();
    END IF;
END
$$;
