"""Timeouts of each hop of a request, descending from the edge to the service.

Each row waits longer than the next one may take, so that the hop that knows the cause sends the error. A service
answers within 25 s, and PostgreSQL ends its statements after 20 s (assets/postgres/database.sql). docs/gateway.md
explains the table.
"""

from __future__ import annotations

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

EDGE_RESPONSE_S = 45
"""The edge's timeout for the first byte of Kong's response."""

KONG_RESPONSE_S = 30
"""Kong's timeout for the first byte of a service's response."""
