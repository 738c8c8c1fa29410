-- Sets one role's password, which is read twice from standard input. psql hashes it: see provision.sh. The verifier
-- isn't written to the server's log or statistics either: only the administrator's session may change these settings.
-- Variable: role.
\ir lock.sql
SET password_encryption = 'scram-sha-256';
SET log_statement = 'none';
SET log_min_error_statement = 'panic';
SET log_min_duration_statement = -1;
SET log_min_duration_sample = -1;
SET pg_stat_statements.track_utility = off;
\password :role
