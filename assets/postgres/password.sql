-- Sets one role's password to what is read, twice, from standard input. psql hashes it: see provision.sh.
-- Even the verifier stays out of the server's log and statistics: only the administrator's session may say so.
-- Variable: role.
\ir lock.sql
SET password_encryption = 'scram-sha-256';
SET log_statement = 'none';
SET log_min_error_statement = 'panic';
SET log_min_duration_statement = -1;
SET log_min_duration_sample = -1;
SET pg_stat_statements.track_utility = off;
\password :role
