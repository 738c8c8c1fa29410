"""Migrate the database's tables to this version: `python -m reference_service.migrate`, as the migrator role.

It may run repeatedly and concurrently: a second run waits for the first one and then changes nothing. It doesn't
mention row-level security, because the platform isolates each table with a `tenant_id`.

All readers queue behind a transaction that waits for a lock, so the role's `lock_timeout` ends that wait after a few
seconds. In that case, and if the server fails, nothing has been changed and the migration starts again, for up to five
minutes.

Exit status: 0 if the schema is up to date; 1 if not; 2 if a variable is missing or invalid.
"""

# mypy: disable-error-code="import-not-found"
from __future__ import annotations

import os
import sys
import time

import psycopg

from . import logs
from .database import connection_parameters
from .settings import Postgres, SettingsError, load_postgres

LOCK = 7_053_140_221
"""Key of the advisory lock: any number, the same for every migration of this database."""

RETRY_FOR_S = 300
"""Seconds for which a migration is retried after a broken connection or a lock timeout, which change nothing."""

MAX_BACKOFF_S = 5

MIGRATIONS = (
    """
    CREATE TABLE appointments (
        id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
        tenant_id uuid NOT NULL,
        starts_at timestamptz NOT NULL,
        title text NOT NULL CHECK (length(title) BETWEEN 1 AND 200),
        status text NOT NULL DEFAULT 'booked' CHECK (status IN ('booked', 'cancelled', 'honoured')),
        created_at timestamptz NOT NULL DEFAULT now()
    )
    """,
    "CREATE INDEX appointments_by_time ON appointments (tenant_id, starts_at, id)",
    "ALTER TABLE appointments ADD COLUMN attachment_id uuid, ADD COLUMN attachment_bytes bigint",
    # EXTERNAL: attachments are compressed already, and their length is known without reading them.
    """
    CREATE TABLE attachment_parts (
        tenant_id uuid NOT NULL,
        appointment_id uuid NOT NULL,
        attachment_id uuid NOT NULL,
        position int NOT NULL,
        content bytea STORAGE EXTERNAL NOT NULL,
        PRIMARY KEY (tenant_id, appointment_id, attachment_id, position)
    )
    """,
    # Unconfirmed events, and the positions that the relay reads for all tenants: see outbox.py.
    """
    CREATE TABLE outbox (
        tenant_id uuid NOT NULL,
        position bigint GENERATED ALWAYS AS IDENTITY,
        appointment_id uuid NOT NULL,
        body text NOT NULL,
        PRIMARY KEY (tenant_id, position)
    );
    CREATE TABLE outbox_waiting (
        position bigint PRIMARY KEY,
        tenant uuid NOT NULL,
        lane smallint NOT NULL,
        since timestamptz NOT NULL DEFAULT now()
    );
    CREATE INDEX outbox_waiting_by_lane ON outbox_waiting (lane, position);
    CREATE TABLE outbox_lanes (
        lane smallint PRIMARY KEY,
        holder uuid,
        leased_until timestamptz NOT NULL DEFAULT '-infinity'
    );
    INSERT INTO outbox_lanes (lane) SELECT generate_series(0, 15)
    """,
    # Events received from Kafka. The key makes a second delivery a no-op.
    """
    CREATE TABLE received_events (
        tenant_id uuid NOT NULL,
        event_id uuid NOT NULL,
        type text NOT NULL,
        received_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (tenant_id, event_id)
    )
    """,
)
"""Migrations in order; each runs once. Only append to the list."""


def migrate(postgres: Postgres) -> int:
    """Run all pending migrations in one transaction. Return how many ran."""
    with psycopg.connect(**connection_parameters(postgres)) as connection:
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
        connection.execute(
            "CREATE TABLE IF NOT EXISTS migrations (number int PRIMARY KEY, ran_at timestamptz NOT NULL DEFAULT now())"
        )
        ran = {number for (number,) in connection.execute("SELECT number FROM migrations")}
        missing = [(number, sql) for number, sql in enumerate(MIGRATIONS, start=1) if number not in ran]
        for number, sql in missing:
            connection.execute(sql.encode())
            connection.execute("INSERT INTO migrations (number) VALUES (%s)", [number])
    return len(missing)


def migrate_in_turn(postgres: Postgres) -> int:
    """Run `migrate`, and retry it while the server is unavailable or another session holds a lock."""
    deadline = time.monotonic() + RETRY_FOR_S
    pause = 0.5
    while True:
        try:
            return migrate(postgres)
        except psycopg.OperationalError as error:
            if time.monotonic() > deadline:
                raise
            is_locked = isinstance(error, psycopg.errors.LockNotAvailable)
            reason = "another session holds a lock" if is_locked else "the server is unavailable"
            logs.log.warning("%s; the migration starts again in %s s", reason, pause)
            time.sleep(pause)
            pause = min(2 * pause, MAX_BACKOFF_S)


def main() -> int:
    """Run the program. Return its exit status."""
    logs.set_up(os.environ.get("SERVICE_NAME", ""), "info")
    try:
        count = migrate_in_turn(load_postgres(os.environ))
    except SettingsError as error:
        logs.log.error("can't migrate: %s", error)
        return 2
    except psycopg.Error:
        logs.log.exception("migration failed; nothing was changed")
        return 1
    logs.log.info("migrations run: %s", count)
    return 0


if __name__ == "__main__":
    sys.exit(main())
