"""Pulumi's log of engine events: the steps that an update has begun and finished, during the update and afterwards."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

UNCHANGED_OPERATIONS = {"same", "read", "refresh"}
"""Operations that change nothing."""


@dataclass(frozen=True)
class Step:
    """An operation on a resource, begun or done."""

    state: str
    """`begun` or `done`."""

    operation: str
    """`create`, `update`, `delete-replaced`, `create-replacement`, `same`, …"""

    type: str
    """The last part of the resource type: `Container`."""

    name: str
    keeps_object: bool = False
    """Whether the resource is marked so that its object stays when the stack gives it up."""

    def __str__(self) -> str:
        return f"{self.operation} of {self.type} {self.name} {self.state}"


class GrowingLog:
    """A log that a running command writes: each line is parsed once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._parsed_bytes = 0
        self._steps: list[Step] = []

    def steps(self) -> list[Step]:
        """Return the steps so far. The last line may be incomplete."""
        if self._path.exists():
            with self._path.open("rb") as log:
                log.seek(self._parsed_bytes)
                complete, newline, _ = log.read().rpartition(b"\n")
            self._parsed_bytes += len(complete) + len(newline)
            self._steps += [step for line in complete.splitlines() for step in _steps_of(json.loads(line))]
        return self._steps


def steps(log: Path) -> list[Step]:
    """Return the steps of a command that has ended."""
    return GrowingLog(log).steps()


def changes(log: Path) -> list[str]:
    """Return an update's changes, sorted, without unchanged resources: `update Container postgres`."""
    return sorted(
        f"{step.operation} {step.type} {step.name}"
        for step in steps(log)
        if step.state == "done" and step.operation not in UNCHANGED_OPERATIONS and step.type != "Stack"
    )


def _steps_of(event: dict[str, Any]) -> list[Step]:
    kinds = {"resourcePreEvent": "begun", "resOutputsEvent": "done"}
    return [_step(event[key]["metadata"], state) for key, state in kinds.items() if key in event]


def _step(metadata: dict[str, Any], state: str) -> Step:
    kind, _, name = metadata["urn"].rpartition("::")
    keeps_object = (metadata.get("old") or {}).get("retainOnDelete", False)
    return Step(state, metadata["op"], kind.rpartition(":")[2], name, keeps_object)
