"""Delete a stack's data. No other operation does so."""

from __future__ import annotations

from operations import stack
from operations.confirmation import require_typed_name
from operations.destroy import require_destroyable
from operations.project import OperationError
from operations.runtimes import runtime_of


def wipe(name: str) -> int:
    """Destroy the stack and delete its data, after the user has typed its name.

    On Docker, this deletes its volumes; on Kubernetes, its namespace in the configured cluster, with everything in it.

    Raises:
        OperationError: the user didn't confirm, something belongs to another stack or state, the state can't be
            read, or the stack can't be destroyed; no data was deleted.
    """
    runtime = runtime_of(name)
    state = stack.recorded_state(name)
    require_destroyable(name, state)
    to_delete = runtime.retained_data(name)
    print(f"This destroys stack '{name}' and permanently deletes its data, {runtime.location(name)}:")
    for one in to_delete or ["(no volumes)"]:
        print(f"  {one}")
    require_typed_name(name)
    if state and (code := stack.destroy(name)):
        raise OperationError(
            f"The stack could not be destroyed (exit code {code}); its data has not been changed. If resources "
            f"are protected, run first: pulumi state unprotect --all --stack {name}"
        )
    runtime.delete_data(name)
    print(f"Deleted: {', '.join(to_delete) or 'nothing'}")
    return 0
