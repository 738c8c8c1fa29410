"""Result of a preview, read from Pulumi's event log."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

UNCHANGED_OPERATIONS = {"same", "read", "refresh"}
"""Operations without a change."""

STACK_TYPE = "pulumi:pulumi:Stack"


def proposes_changes(log: Path) -> bool:
    """Return whether an update would change a resource or a stack output."""
    return any(_is_change(step) for step in _steps(log))


def _is_change(step: dict[str, Any]) -> bool:
    if step["op"] not in UNCHANGED_OPERATIONS:
        return True
    is_stack = step["op"] == "same" and step["type"] == STACK_TYPE
    return is_stack and bool(_outputs(step, "old") != _outputs(step, "new"))


def _outputs(step: dict[str, Any], state: str) -> Any:
    return (step.get(state) or {}).get("outputs") or {}


def _steps(log: Path) -> Iterator[dict[str, Any]]:
    for line in log.read_text().splitlines():
        event = json.loads(line)
        if "resOutputsEvent" in event:
            yield event["resOutputsEvent"]["metadata"]
