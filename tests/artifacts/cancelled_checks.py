"""Transactions on a pooled connection whose check was cancelled. The reference service's own Python runs this file.

Argument: a tenant. It prints the tenant that PostgreSQL sees in the second statement of both kinds of transaction.
"""

# mypy: disable-error-code="import-not-found"
# mypy: allow-untyped-calls
from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import replace
from typing import Any
from uuid import UUID

from reference_service.database import Database, act_for
from reference_service.settings import load_postgres


async def main(tenant: UUID) -> None:
    """Leave the pool's only connection in autocommit mode, then begin both kinds of transaction with it."""
    database = Database(replace(load_postgres(os.environ), pool_max=1))
    await database.open()
    async with database._pool.connection() as connection:
        await connection.set_autocommit(True)
    async with database.transaction(tenant) as connection:
        of_a_request = await current_tenant(connection)
    async with database.own_transaction() as connection:
        await act_for(connection, tenant)
        of_its_own = await current_tenant(connection)
    print(of_a_request, of_its_own)
    await database.close()


async def current_tenant(connection: Any) -> str:
    """Return the tenant whose rows the connection's next statement sees."""
    cursor = await connection.execute("SELECT current_setting('app.tenant_id', true) AS tenant")
    return str((await cursor.fetchone())["tenant"])


asyncio.run(main(UUID(sys.argv[1])))
