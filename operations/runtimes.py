"""Runtimes of a stack's workloads: the only module in which operations distinguish Docker and Kubernetes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from operations.configuration import read_configuration


class Runtime(Protocol):
    """A Docker engine or a cluster, queried with its own command line."""

    def why_unreachable(self, stack: str) -> str | None:
        """Return why the engine or the cluster doesn't respond, with the fix; None if it does."""

    def may_differ(self, stack: str, recorded: Sequence[Mapping[str, Any]]) -> bool:
        """Return whether something may have been stopped or removed by hand.

        Args:
            stack: its name.
            recorded: the resources of its state.
        """

    def not_ready(self, stack: str) -> list[str]:
        """Return one line for each workload that isn't ready now, with the known reason."""

    def show_status(self, stack: str) -> None:
        """Print the status of the stack's workloads.

        Raises:
            OperationError: the stack has no workloads, or the runtime doesn't respond.
        """

    def follow_logs(self, stack: str, workload: str, *, follow: bool) -> int:
        """Follow the logs of a workload. Return the command's exit code.

        Raises:
            OperationError: there is no such workload; the message lists the existing ones.
        """

    def retained_data(self, stack: str) -> list[str]:
        """Return the names of what `pulumi destroy` retains."""

    def delete_data(self, stack: str) -> None:
        """Delete the retained data permanently."""

    def location(self, stack: str) -> str:
        """Describe the stack's location, for the confirmation of a deletion."""


def runtime_of(stack: str) -> Runtime:
    """Return the runtime of the stack's configuration."""
    settings, _ = read_configuration(stack)
    if settings.backend.kind == "kubernetes":
        from operations import cluster

        return cluster
    from operations import containers

    return containers
