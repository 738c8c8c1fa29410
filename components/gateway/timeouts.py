"""Timeouts of each hop of a request, descending from the edge to the database.

Each row waits longer than the next one may take, so that the hop that knows the cause sends the error.
docs/gateway.md explains the table.
"""

from __future__ import annotations

from dataclasses import dataclass

EDGE_CLIENT_TIMEOUT_S = 15
"""The edge's timeout between two reads from, or writes to, a client."""

KONG_CLIENT_TIMEOUT_S = 20
"""Kong's timeout for its client, the edge: the edge ends a slow client's request before Kong does."""

CONNECT_TIMEOUT_S = 2
"""Timeout for a connection to the next hop."""

REDIS_TIMEOUT_MS = 250
"""Kong's timeout for Redis, which counts requests; then the request passes uncounted. If the network drops packets,
each request is delayed this long."""

RETRY_WITHIN_S = 5
"""A request is retried once, only within this time: after a refused or lost connection, never after a timeout."""

RETRIES = 1


@dataclass(frozen=True, kw_only=True)
class HopTimeout:
    """One hop's timeout for the first byte of a response."""

    hop: str
    response_s: int


EDGE = HopTimeout(hop="nginx waits for Kong", response_s=45)
KONG = HopTimeout(hop="Kong waits for a service", response_s=30)
SERVICE = HopTimeout(hop="a service answers", response_s=25)
STATEMENT = HopTimeout(hop="PostgreSQL runs one statement", response_s=20)
"""The limit of the services' roles, set by assets/postgres/database.sql."""

HOP_TIMEOUTS = (EDGE, KONG, SERVICE, STATEMENT)

KONG_MAX_RESPONSE_S = RETRY_WITHIN_S + CONNECT_TIMEOUT_S + KONG.response_s
"""Longest time to Kong's response: a connection lost at the end of `RETRY_WITHIN_S`, then a second attempt."""
