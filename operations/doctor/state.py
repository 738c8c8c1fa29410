"""Checks of the Pulumi state: whether the stack is up and here, and what interrupted updates have left."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from operations.doctor.context import Context
from operations.doctor.finding import Finding
from operations.locks import locks


def missing_stack(context: Context) -> Iterator[Finding]:
    """Yield an error if the stack isn't up, or is on another engine: then no other check of it makes sense."""
    if not context.recorded:
        problem = f"The stack isn't up: its state contains nothing that runs {context.runtime.location(context.stack)}."
        yield Finding("error", "stack", problem, f"Bring it up: make up STACK={context.stack}")
    elif reason := context.runtime.why_elsewhere(context.stack, context.recorded):
        problem, _, fix = reason.partition("\n")
        yield Finding("error", "stack", problem, fix or "docs/runbook.md#the-stack-is-on-another-docker-engine")


def interrupted_updates(stack: str, state: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield the locks of the state, and the operations whose outcome it doesn't know."""
    found = locks(stack)
    for lock in found:
        if lock.is_held():
            problem = f"An update of the stack is running (process {lock.pid}). What follows may be its effect."
            yield Finding("warning", "state", problem, "Wait until it ends, then run this again.")
        elif lock.is_stale():
            problem = f"An update was killed, and its lock remains (process {lock.pid} has ended)."
            yield Finding("error", "state", problem, f"Update again, which removes the lock: make up STACK={stack}")
        else:
            problem = f"The state is locked, maybe by another machine: {lock.file}."
            fix = f"If no update runs anywhere: . ./activate && pulumi cancel --stack {stack}"
            yield Finding("warning", "state", problem, fix)
    pending = [one["resource"]["urn"].rpartition("::")[2] for one in state.get("pending_operations") or []]
    if pending and not any(lock.is_held() for lock in found):
        problem = f"An update was interrupted; the state doesn't know whether it has finished: {', '.join(pending)}."
        fix = f"Update again, which settles them: make up STACK={stack} (docs/runbook.md#an-update-was-interrupted)"
        yield Finding("error", "state", problem, fix)
