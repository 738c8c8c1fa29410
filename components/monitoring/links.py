"""URLs for the links in notifications, which never use a name that only the platform resolves."""

from __future__ import annotations

from dataclasses import dataclass

from backends.base import Backend
from workloads import Endpoint


@dataclass(frozen=True, kw_only=True)
class Link:
    """How users open one of the servers: a URL, and a command if one is needed first."""

    url: str
    """URL without a trailing slash."""

    port_forward_command: str | None
    """Command that must run before the URL works; None if none is needed."""


def link(backend: Backend, endpoint: Endpoint, publish: int, url: str | None) -> Link:
    """Return how to open a server.

    Args:
        backend: where the server runs.
        endpoint: the server.
        publish: its host port (Docker).
        url: the public address of the settings, which has precedence.
    """
    if url is not None:
        return Link(url=url, port_forward_command=None)
    if (command := backend.addressing.port_forward_command(endpoint)) is not None:
        return Link(url=f"http://127.0.0.1:{endpoint.port}", port_forward_command=command)
    host, port = backend.addressing.published(endpoint, publish)
    return Link(url=f"http://{host}:{port}", port_forward_command=None)
