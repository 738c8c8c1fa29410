"""What a backend is: it turns a workload into resources of its provider."""

from __future__ import annotations

from typing import Protocol

import pulumi

from workloads import Workload


class Backend(Protocol):
    """Where workloads run."""

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
