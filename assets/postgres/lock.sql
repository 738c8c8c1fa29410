-- Concurrent runs are serialised. An advisory lock belongs to one database, so each file takes it in the database where
-- it works; server-wide objects (roles, grants on databases) are only changed from the administrator's database. The
-- lock is held until the session ends. Without it, PostgreSQL reports "tuple concurrently updated" for pg_authid and
-- pg_database.
DO $$ BEGIN PERFORM pg_advisory_lock(hashtext('pti-calendar provisioning')); END $$;
