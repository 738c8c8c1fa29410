"""Checks that every workload runs and is ready."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from operations.doctor.context import Context
from operations.doctor.finding import Finding

LAYERS = ("DataLayer", "Microservice", "Frontend", "Gateway")
"""Component types, each after those that its workloads connect to. Workloads of other components come last."""

STORES = LAYERS[0]

REFUSED_PASSWORD = "password authentication failed"  # noqa: S105 - text of PostgreSQL's message
"""PostgreSQL's message for a wrong password."""


def unready_workloads(context: Context) -> Iterator[Finding]:
    """Yield a finding for each workload that doesn't run or isn't ready: stores first, since services need them."""
    places = _places(context.recorded)
    last = (len(LAYERS), 0)
    found = sorted(
        context.runtime.workload_findings(context.stack, context.recorded),
        key=lambda one: (one.severity, places.get(one.subject, last), one.subject),
    )
    broken_stores = [one.subject for one in found if one.severity == "error" and _is_store(one.subject, places)]
    for one in found:
        if REFUSED_PASSWORD in one.output:
            yield _refused_password(one, context.stack)
        elif broken_stores and not _is_store(one.subject, places):
            fix = f"First repair {', '.join(broken_stores)}: this may be the effect. If it remains: {one.fix}"
            yield replace(one, fix=fix)
        else:
            yield one


def _refused_password(one: Finding, stack: str) -> Finding:
    return replace(
        one,
        problem=f"{one.problem} PostgreSQL refuses its password: the kept data has another one than the "
        "stack's state or configuration.",
        fix="If the state was lost, restore it (docs/runbook.md#the-state-is-lost). If a role's password was changed, "
        "remove the container or the Job 'databases', which sets the passwords, and update: "
        f"make up STACK={stack} (docs/runbook.md#postgresql-runs-but-refuses-or-delays-requests)",
    )


def _is_store(workload: str, places: Mapping[str, tuple[int, int]]) -> bool:
    return places.get(workload, (len(LAYERS), 0))[0] == LAYERS.index(STORES)


def _places(recorded: Sequence[Mapping[str, Any]]) -> dict[str, tuple[int, int]]:
    """Map each resource's name to its component's layer and its place in the state, which follows its dependencies."""
    places: dict[str, tuple[int, int]] = {}
    for number, one in enumerate(recorded):
        types, _, name = str(one["urn"]).rpartition("::")
        layers = [number for number, layer in enumerate(LAYERS) if f":{layer}$" in types]
        places.setdefault(name, (layers[0] if layers else len(LAYERS), number))
    return places
