"""Destroy a stack, and keep its data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from operations import offsite, stack
from operations.confirmation import require_typed_name
from operations.project import OperationError
from operations.runtimes import runtime_of


def destroy(name: str) -> int:
    """Destroy the stack after the user has typed its name; its data stays. Return Pulumi's exit code.

    `pulumi destroy` doesn't run the program, so it can't check that the stack is on this engine: on another one it
    would empty the state, while everything keeps running on the first.

    Raises:
        OperationError: the stack doesn't exist or is elsewhere, something belongs to another stack or state, the state
            can't be read, or the user didn't confirm; nothing was changed.
    """
    state = stack.recorded_state(name)
    if not state.get("resources"):
        raise OperationError(f"Stack '{name}' isn't up.")
    require_destroyable(name, state)
    runtime = runtime_of(name)
    print(f"This destroys stack '{name}' {runtime.location(name)}; its data stays.")
    require_typed_name(name)
    offsite.keep_password(name, state)
    if code := stack.destroy(name):
        return code
    if kept := runtime.retained_data(name):
        print(f"The data of stack '{name}' stays {runtime.location(name)}:")
        for one in kept:
            print(f"  {one.name}")
        print(f"To continue with it: make up STACK={name}. To delete it: make wipe STACK={name}")
    return 0


def require_destroyable(name: str, state: Mapping[str, Any]) -> None:
    """Check that nothing that belongs to others would be destroyed, or would make the destroy fail.

    Raises:
        OperationError: with each obstacle, and what to do about it.
    """
    recorded = state.get("resources") or []
    runtime = runtime_of(name)
    if reason := runtime.why_elsewhere(name, recorded):
        raise OperationError(reason)
    if obstacles := runtime.destroy_obstacles(name, recorded):
        lines = "\n".join(f"  {one}" for one in obstacles)
        raise OperationError(f"Stack '{name}' can't be destroyed:\n{lines}\nNothing has been changed.")
