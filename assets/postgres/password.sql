-- Sets one role's password to what is read, twice, from standard input. psql hashes it: see provision.sh.
-- Even the verifier stays out of the server's log, where the administrator may say so. Variable: role.
\ir lock.sql
SET password_encryption = 'scram-sha-256';
SELECT set_config(name, value, false)
FROM (VALUES ('log_statement', 'none'), ('log_min_error_statement', 'panic'), ('log_min_duration_statement', '-1'),
    ('log_min_duration_sample', '-1')) AS quiet(name, value)
WHERE (SELECT rolsuper FROM pg_roles WHERE rolname = current_user);
\password :role
