"""PostgreSQL: a pool that survives the server's absence, and transactions that begin with the tenant."""

# mypy: disable-error-code="import-not-found"
from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import psycopg
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from .settings import Postgres

POOL_TIMEOUT_S = 2
"""Seconds that a request waits for a connection before it gets 503."""

STATEMENT_MS = 5_000
KEEPALIVE_S = 5


class Database:
    """Transactions of one tenant at a time. Nothing here reads or writes without one.

    Each begins explicitly. The pool's check of a connection switches it to autocommit, and a check that is cancelled
    can leave it so (seen with psycopg 3.3.9, psycopg_pool 3.3.3 on Python 3.13): the tenant would be forgotten after
    the statement that names it, and row-level security would refuse everything that follows.
    """

    def __init__(self, postgres: Postgres) -> None:
        self._pool = AsyncConnectionPool(
            kwargs={
                **connection_parameters(postgres),
                "row_factory": dict_row,
                "options": f"-c statement_timeout={STATEMENT_MS} -c timezone=UTC",
                "tcp_user_timeout": STATEMENT_MS,
                # A statement that waits for its result sends nothing, so only these notice that the server's container
                # has crashed: its network namespace is gone, and nothing closes the connection.
                "keepalives_idle": KEEPALIVE_S,
                "keepalives_interval": KEEPALIVE_S,
                "keepalives_count": 2,
            },
            min_size=1,
            max_size=postgres.pool_max,
            timeout=POOL_TIMEOUT_S,
            # Back-off doubles up to this many seconds; after that, the next request or probe tries at once.
            reconnect_timeout=2,
            # Replaces connections that a restart of the server broke, before a request uses them.
            check=AsyncConnectionPool.check_connection,
            open=False,
        )
        self._own = asyncio.Lock()

    async def open(self) -> None:
        """Start connecting. Return at once, whether or not the server is available."""
        await self._pool.open(wait=False)

    async def close(self) -> None:
        """Close every connection."""
        await self._pool.close(timeout=1)

    async def check(self) -> None:
        """Raise unless the server responds."""
        async with self._pool.connection() as connection:
            await connection.execute("SELECT 1")

    @asynccontextmanager
    async def transaction(
        self, tenant: UUID, wait_s: float = POOL_TIMEOUT_S
    ) -> AsyncIterator[psycopg.AsyncConnection[DictRow]]:
        """Run a transaction that only sees the tenant's rows. It commits at the end and rolls back on an error."""
        async with self._pool.connection(timeout=wait_s) as connection, connection.transaction():
            await act_for(connection, tenant)
            yield connection

    @asynccontextmanager
    async def own_transaction(self) -> AsyncIterator[psycopg.AsyncConnection[DictRow]]:
        """Run a transaction of the service itself. It sees no tenant's rows until it calls `act_for`.

        They run one at a time, so that background work uses at most one connection of the pool.
        """
        async with self._own, self._pool.connection() as connection, connection.transaction():
            yield connection

    async def read(self, tenant: UUID, query: str, parameters: Sequence[object] = ()) -> list[DictRow]:
        """Return the rows of a read-only query, which is retried once if the connection breaks."""
        try:
            return await self._rows(tenant, query, parameters)
        except PoolTimeout:
            raise
        except psycopg.OperationalError:
            return await self._rows(tenant, query, parameters)

    async def _rows(self, tenant: UUID, query: str, parameters: Sequence[object]) -> list[DictRow]:
        async with self.transaction(tenant) as connection:
            cursor = await connection.execute(query.encode(), parameters)
            return await cursor.fetchall()


async def act_for(connection: psycopg.AsyncConnection[DictRow], tenant: UUID) -> None:
    """Show the tenant's rows, and no other's, for the rest of the transaction or until the next call."""
    await connection.execute("SELECT set_config('app.tenant_id', %s, true)", [str(tenant)])


def connection_parameters(postgres: Postgres) -> dict[str, Any]:
    """Return libpq's connection parameters."""
    parameters: dict[str, Any] = {
        "host": postgres.host,
        "port": postgres.port,
        "dbname": postgres.name,
        "user": postgres.user,
        "password": postgres.password,
        "sslmode": postgres.sslmode,
        "connect_timeout": 2,
    }
    if postgres.sslmode == "verify-full":
        # libpq's own default is a file in a home directory, which the container doesn't have.
        parameters["sslrootcert"] = ssl.get_default_verify_paths().cafile
    return parameters
