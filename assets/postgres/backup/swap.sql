-- Replaces databases by the ones restored beside them, all of them in one transaction: `name` is kept as
-- replaced_<stamp>_<name>, and restoring_<name> becomes `name`. Variables: databases (separated by spaces), stamp.
--
-- A renamed database must have no sessions. ALTER DATABASE … RENAME locks out new ones and waits 5 s for the others to
-- end. A client that reconnects between the termination and the lock would make it fail, so it is tried again.
SELECT set_config('restore.databases', :'databases', false), set_config('restore.stamp', :'stamp', false) \g /dev/null
DO $$
DECLARE
    names text[] := string_to_array(current_setting('restore.databases'), ' ');
    stamp text := current_setting('restore.stamp');
    name text;
BEGIN
    FOR attempt IN 1..6 LOOP
        PERFORM pg_stat_clear_snapshot();
        PERFORM pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = ANY (names) OR datname = ANY (ARRAY(SELECT 'restoring_' || n FROM unnest(names) AS n));
        BEGIN
            FOREACH name IN ARRAY names LOOP
                IF EXISTS (SELECT FROM pg_database WHERE datname = name) THEN
                    EXECUTE format('ALTER DATABASE %I RENAME TO %I', name, format('replaced_%s_%s', stamp, name));
                END IF;
                EXECUTE format('ALTER DATABASE %I RENAME TO %I', 'restoring_' || name, name);
            END LOOP;
            RETURN;
        EXCEPTION WHEN object_in_use THEN
            IF attempt = 6 THEN
                RAISE;
            END IF;
        END;
    END LOOP;
END
$$;
