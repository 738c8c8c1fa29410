"""Where a workload answers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Endpoint:
    """A port of a workload, for the workloads that call it."""

    workload: str
    """Its name: what a caller lists in `Workload.calls`, and the host name it connects to."""

    port: int
    """TCP port inside the platform; the port published to people may be another."""

    def __str__(self) -> str:
        return f"{self.workload}:{self.port}"
