"""The platform that runs a stack's workloads, queried with its own command."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol, cast

from capabilities import BACKENDS
from operations.configuration import read_configuration
from operations.doctor.finding import ClockOffset, Finding, Instance
from operations.project import OperationError


@dataclass(frozen=True)
class RetainedData:
    """A volume or a claim that outlives the stack."""

    name: str
    workload: str
    """The workload that it belongs to; empty if unknown."""


class Runtime(Protocol):
    """A Docker engine or a cluster, queried with its own command line."""

    def unreachable_reason(self, stack: str) -> str | None:
        """Return why the engine or the cluster doesn't respond, with the fix; None if it does."""

    def why_elsewhere(self, stack: str, recorded: Sequence[Mapping[str, Any]]) -> str | None:
        """Return why the stack isn't on this engine or cluster, as its state records it; None if it is, or unknown."""

    def may_have_drifted(self, stack: str, recorded: Sequence[Mapping[str, Any]]) -> bool:
        """Return whether something may have been stopped or removed by hand.

        Args:
            stack: its name.
            recorded: the resources of its state.
        """

    def repair_manual_changes(self, stack: str, recorded: Sequence[Mapping[str, Any]]) -> None:
        """Repair manual changes that an update doesn't find, or prepare them for it. Print each.

        Args:
            stack: its name.
            recorded: the resources of its state.

        Raises:
            OperationError: the runtime refuses or doesn't respond.
        """

    def unready_workloads(self, stack: str) -> list[str]:
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

    def run_task(self, stack: str, workload: str, command: Sequence[str] | None = None) -> int:
        """Run a scheduled task now, or another command in its container, and stream its output.

        Ctrl-C ends the run.

        Args:
            stack: its name.
            workload: the scheduled task.
            command: runs instead of the task's command, without its time limit.

        Returns:
            The exit code of the command; 1 if a run is in progress; 130 after Ctrl-C.

        Raises:
            OperationError: there is no such scheduled task, its run doesn't start, or the runtime doesn't respond.
        """

    def run_in_container(self, stack: str, workload: str, command: Sequence[str], cancel: Sequence[str]) -> int:
        """Run a command in the container of a stateful service with one replica, and stream its output.

        Args:
            stack: its name.
            workload: the stateful service.
            command: the command.
            cancel: another command, which ends the first one; Ctrl-C runs it.

        Returns:
            The exit code of the command; 130 after Ctrl-C.

        Raises:
            OperationError: there is no such workload, it doesn't run, or the runtime doesn't respond.
        """

    def workload_findings(self, stack: str, recorded: Sequence[Mapping[str, Any]]) -> list[Finding]:
        """Return what is wrong with each workload that is missing, doesn't run or isn't ready.

        Args:
            stack: its name.
            recorded: the resources of its state.

        Raises:
            OperationError: the runtime doesn't respond.
        """

    def instances(self, stack: str) -> list[Instance]:
        """Return the running containers of the workloads that run continuously.

        Raises:
            OperationError: the runtime doesn't respond.
        """

    def execute(self, stack: str, instance: Instance, command: Sequence[str]) -> str:
        """Return the output of a command in a running container.

        Raises:
            CommandFailed: the command fails or takes too long.
        """

    def taken_ports(self, stack: str, ports: Sequence[tuple[str, int]]) -> list[tuple[str, int]]:
        """Return the host ports, with their configuration keys, that programs other than the stack use.

        Raises:
            OperationError: the host ports are those of another machine.
        """

    def clock_offset(self, stack: str) -> ClockOffset:
        """Return how far the clock of the engine or the API server is ahead of this machine's.

        Raises:
            OperationError: the runtime doesn't respond.
        """

    def destroy_obstacles(self, stack: str, recorded: Sequence[Mapping[str, Any]]) -> list[str]:
        """Return what belongs to others or would make a destroy of the stack fail, each with the fix.

        Args:
            stack: its name.
            recorded: the resources of its state.
        """

    def retained_data(self, stack: str) -> list[RetainedData]:
        """Return the volumes or claims that `pulumi destroy` retains."""

    def deletion_plan(self, stack: str, kept: Sequence[RetainedData]) -> list[str]:
        """Return what `delete_data` deletes, one line each."""

    def delete_data(self, stack: str, kept: Sequence[RetainedData]) -> None:
        """Delete the retained data of a destroyed stack permanently, except for `kept`.

        Raises:
            OperationError: not everything was deleted.
        """

    def location(self, stack: str) -> str:
        """Describe the stack's location, as part of a sentence.

        Raises:
            OperationError: the docker command's context doesn't exist.
        """


def no_such_task(stack: str, workload: str, existing: Iterable[str]) -> OperationError:
    """Return the error about a scheduled task that doesn't exist."""
    known = ", ".join(sorted(existing)) or f"none. If the stack isn't up: make up STACK={stack}"
    return OperationError(f"Stack '{stack}' has no scheduled task '{workload}'; its scheduled tasks: {known}")


def runtime_of(stack: str) -> Runtime:
    """Return the runtime of the backend that the stack's configuration names.

    Raises:
        OperationError: the backend has none.
    """
    settings, _ = read_configuration(stack)
    row = BACKENDS[settings.backend.kind]
    if row.runtime is None:
        raise OperationError(f"{row.title} (backend.kind of stack '{stack}') has no status, logs or wipe.")
    return cast(Runtime, import_module(row.runtime))
