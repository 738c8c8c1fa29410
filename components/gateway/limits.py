"""Limits per request and per client. docs/gateway.md explains the table.

`gateway.maxBodyMib` sets the largest body, and `gateway.rateLimit` the requests per minute.
"""

from __future__ import annotations

HEADER_BUFFER_KIB = 16
"""Maximum size of one header, or of the request line. A larger one is refused with 400."""

HEADER_BUFFERS = 4
"""Number of buffers of `HEADER_BUFFER_KIB` for all headers of a request."""

RESPONSE_HEADERS_KIB = 16
"""Maximum size of all headers of a service's response. Larger ones cause 502."""

EDGE_RESPONSE_HEADERS_KIB = 32
"""Maximum size of all response headers at the edge, because Kong adds headers of its own."""

RESPONSE_BUFFERS = 8
RESPONSE_BUFFER_KIB = 8
"""Buffer of a hop for the response to a slow client, in memory only."""

CONNECTIONS_PER_CLIENT = 200
"""Maximum number of concurrent requests per client address and replica; an HTTP/2 stream counts as one. Further ones
get 429."""

EDGE_RATE_PER_CLIENT = 100
"""Requests per second of one client address at nginx, per replica and for all host names together. Further ones get
429."""

EDGE_BURST_PER_CLIENT = 1000

CLIENT_TABLE_MIB = 10
"""Memory for the counted client addresses, about 80,000."""
