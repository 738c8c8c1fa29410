"""What runs a stack's workloads: the one place where operations tell Docker from Kubernetes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from operations.configuration import read_configuration


class Runtime(Protocol):
    """A Docker engine or a cluster, asked with its own command about the stacks on it."""

    def why_unreachable(self, stack: str) -> str | None:
        """Return why the engine or the cluster doesn't answer, with the remedy; None where it does."""

    def may_differ(self, stack: str, recorded: Sequence[Mapping[str, Any]]) -> bool:
        """Return whether something may have been stopped or removed by hand.

        Args:
            stack: its name.
            recorded: the resources of its state.
        """

    def not_ready(self, stack: str) -> list[str]:
        """Return what of the stack doesn't serve now: a line for each workload, with what is known of the reason."""

    def show_status(self, stack: str) -> None:
        """Prints how the stack's workloads are.

        Raises:
            OperationError: nothing of it is there, or there is no answer.
        """

    def follow_logs(self, stack: str, workload: str, *, follow: bool) -> int:
        """Shows what a workload writes; gives the command's exit code.

        Raises:
            OperationError: naming the workloads there are.
        """

    def kept_data(self, stack: str) -> list[str]:
        """What outlives `pulumi destroy`, by name."""

    def delete_data(self, stack: str) -> None:
        """Deletes all of that, for good."""

    def whereabouts(self, stack: str) -> str:
        """Where the stack is, for a person who is about to delete it."""


def runtime_of(stack: str) -> Runtime:
    """What the stack's configuration says it runs on."""
    settings, _ = read_configuration(stack)
    if settings.backend.kind == "kubernetes":
        from operations import cluster

        return cluster
    from operations import containers

    return containers
