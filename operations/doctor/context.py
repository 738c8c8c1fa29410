"""What every check of a stack uses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from threading import Lock
from typing import Any

from operations.doctor.finding import Instance
from operations.project import OperationError
from operations.runtimes import Runtime
from settings import Settings


@dataclass(frozen=True)
class Context:
    """A stack, its settings, and the engine or cluster that it runs on."""

    stack: str
    settings: Settings
    runtime: Runtime
    recorded: Sequence[Mapping[str, Any]] = field(default_factory=list)
    """The resources of the stack's state, without the stack itself."""

    _lock: Lock = field(default_factory=Lock, repr=False, compare=False)

    @cached_property
    def _shared_instances(self) -> list[Instance] | OperationError:
        try:
            return self.runtime.instances(self.stack)
        except OperationError as error:
            return error

    def instances(self) -> list[Instance]:
        """Return the running containers. All checks share one query.

        Raises:
            OperationError: the runtime doesn't respond.
        """
        with self._lock:
            found = self._shared_instances
        if isinstance(found, OperationError):
            raise OperationError(str(found))
        return found

    def execute(self, workload: str, *command: str) -> str:
        """Return the output of a command in a workload's running container; of a replicated store, in its primary.

        Raises:
            NotRunning: the workload doesn't run.
            CommandFailed: the command fails or takes too long.
            OperationError: the engine or the cluster doesn't respond.
        """
        for one in self.instances():
            if one.workload == workload and one.is_primary:
                return self.runtime.execute(self.stack, one, command)
        raise NotRunning(f"{workload} isn't running")


class NotRunning(OperationError):
    """The workload in which a check runs its command isn't running."""
