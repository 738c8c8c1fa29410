"""Where the links in notifications lead: never to a name that only the platform itself resolves."""

from __future__ import annotations

from dataclasses import dataclass

from backends.base import Backend
from workloads import Endpoint


@dataclass(frozen=True, kw_only=True)
class Link:
    """How a person opens one of the servers."""

    url: str
    """Address, without a slash at the end."""

    forwarding: str | None
    """The command without which the address leads nowhere; None where none is needed."""


def link(backend: Backend, endpoint: Endpoint, publish: int, url: str | None) -> Link:
    """Return the way to a server.

    Args:
        backend: where the server runs.
        endpoint: the server.
        publish: its host port (Docker).
        url: the public address of the settings, which wins.
    """
    if url is not None:
        return Link(url=url, forwarding=None)
    if (command := backend.forwarding(endpoint)) is not None:
        return Link(url=f"http://127.0.0.1:{endpoint.port}", forwarding=command)
    host, port = backend.reached_at(endpoint, publish)
    return Link(url=f"http://{host}:{port}", forwarding=None)
