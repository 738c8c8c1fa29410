-- Two runs at once take turns. An advisory lock belongs to one database, so each file takes it where it works;
-- what the whole server shares (roles, grants on databases) is only touched from the administrator's database.
-- Held until the session ends. Without it: "tuple concurrently updated" on pg_authid and pg_database.
DO $$ BEGIN PERFORM pg_advisory_lock(hashtext('pti-calendar provisioning')); END $$;
