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

    def __str__(self) -> str:
        return f"{self.operation} of {self.type} {self.name} {self.state}"


def steps(log: Path) -> list[Step]:
    """Return the steps so far. The last line may be incomplete."""
    found = []
    for line in log.read_text().splitlines() if log.exists() else []:
        try:
            event = json.loads(line)
        except json.JSONDecodeError:
            break
        for key, state in {"resourcePreEvent": "begun", "resOutputsEvent": "done"}.items():
            if key in event:
                found.append(_step(event[key]["metadata"], state))
    return found


def changes(log: Path) -> list[str]:
    """Return an update's changes, sorted, without unchanged resources: `update Container postgres`."""
    return sorted(
        f"{step.operation} {step.type} {step.name}"
        for step in steps(log)
        if step.state == "done" and step.operation not in UNCHANGED_OPERATIONS and step.type != "Stack"
    )


def _step(metadata: dict[str, Any], state: str) -> Step:
    kind, _, name = metadata["urn"].rpartition("::")
    return Step(state, metadata["op"], kind.rpartition(":")[2], name)
