"""What a backend is: it turns a workload into resources of its provider."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import pulumi

from workloads import Workload


class Backend(Protocol):
    """Where workloads run."""

    def check_published_ports(self, ports: Iterable[tuple[str, int]]) -> None:
        """Looks whether the host ports are free, before anything is declared.

        Args:
            ports: configuration key and port number.

        Raises:
            PortsTaken: in an update, naming each key whose port something else holds. A preview only warns.
        """
        ...

    def deploy(self, workload: Workload, *, parent: pulumi.Resource) -> None:
        """Declares the resources of one workload below `parent`.

        Workloads are deployed in the order of their needs. From then on, callers reach it at
        `<workload name>:<port>` and, where a port is published, people at `published_host`.

        Raises:
            WorkloadError: on anything this backend can't honour, and on needs or calls not deployed before.
        """
        ...

    @property
    def published_host(self) -> str:
        """Host name or address under which a person reaches published ports."""
        ...
