-- Replaces databases by the ones restored beside them, all of them in one transaction: `name` is kept as
-- replaced_<stamp>_<name>, and restoring_<name> becomes `name`. Variables: databases (separated by spaces), stamp, and
-- restored, the ids of the databases that this restore has created. Another one, in the container of the backups or of the
-- archive, may have put its own in their place.
--
-- A renamed database must have no sessions. ALTER DATABASE … RENAME locks out new ones and waits 5 s for the others to
-- end; meanwhile, restore.sh terminates them.
SELECT set_config('restore.databases', :'databases', false), set_config('restore.stamp', :'stamp', false),
    set_config('restore.restored', :'restored', false) \g /dev/null
DO $$
DECLARE
    name text;
BEGIN
    FOR attempt IN 1..3 LOOP
        BEGIN
            FOREACH name IN ARRAY string_to_array(current_setting('restore.databases'), ' ') LOOP
                IF EXISTS (SELECT FROM pg_database WHERE datname = name) THEN
                    EXECUTE format('ALTER DATABASE %I RENAME TO %I',
                        name, format('replaced_%s_%s', current_setting('restore.stamp'), name));
                END IF;
                EXECUTE format('ALTER DATABASE %I RENAME TO %I', 'restoring_' || name, name);
                IF (SELECT oid FROM pg_database WHERE datname = name)
                    <> ALL (string_to_array(current_setting('restore.restored'), ' ')::oid[]) THEN
                    RAISE EXCEPTION 'restoring_% is of another restore, which runs at the same time', name;
                END IF;
            END LOOP;
            RETURN;
        EXCEPTION WHEN object_in_use THEN
            IF attempt = 3 THEN
                RAISE;
            END IF;
        END;
    END LOOP;
END
$$;
