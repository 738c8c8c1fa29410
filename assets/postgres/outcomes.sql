-- The outcomes of scheduled work in the database postgres, from where PostgreSQL's exporter reads them for Prometheus:
-- a container that has ended can't be scraped. The backup role records them, the monitor reads them. Variables: backup,
-- monitor, with_monitor.
CREATE SCHEMA IF NOT EXISTS operations;
CREATE TABLE IF NOT EXISTS operations.outcome (
    work text NOT NULL, -- such as `tenant audit`
    subject text NOT NULL, -- such as a database
    ended_at timestamptz NOT NULL,
    value double precision NOT NULL, -- such as the number of findings
    PRIMARY KEY (work, subject)
);

CREATE OR REPLACE FUNCTION operations.record(work text, subject text, value double precision) RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    INSERT INTO operations.outcome VALUES (work, subject, now(), value)
    ON CONFLICT ON CONSTRAINT outcome_pkey DO UPDATE SET ended_at = excluded.ended_at, value = excluded.value
    $$;
REVOKE ALL ON FUNCTION operations.record FROM PUBLIC;
GRANT USAGE ON SCHEMA operations TO :"backup";
GRANT EXECUTE ON FUNCTION operations.record TO :"backup";
\if :with_monitor
    GRANT USAGE ON SCHEMA operations TO :"monitor";
    GRANT SELECT ON operations.outcome TO :"monitor";
\endif
