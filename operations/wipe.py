"""Deletes a stack's data. Nothing else does."""

from __future__ import annotations

from operations import stack
from operations.project import OperationError
from operations.runtimes import runtime_of


def wipe(name: str) -> int:
    """Destroy the stack and delete its data, after the user has typed its name.

    Docker: its volumes. Kubernetes: its namespace, on the cluster that the configuration names, with all that is in it.

    Raises:
        OperationError: nothing was confirmed, or the stack could not be taken down; then no data is deleted.
    """
    runtime = runtime_of(name)
    doomed = runtime.kept_data(name)
    print(f"This takes stack '{name}' down and deletes its data for good, {runtime.whereabouts(name)}:")
    for one in doomed or ["(no volumes)"]:
        print(f"  {one}")
    try:
        typed = input(f"Type the name of the stack to go on ({name}): ")
    except EOFError:
        typed = ""
    if typed.strip() != name:
        raise OperationError("Not confirmed; nothing has been changed.")
    if stack.exists(name) and (code := stack.destroy(name)):
        raise OperationError(
            f"The stack could not be destroyed (exit code {code}); its volumes have not been changed. If resources "
            f"are protected, run first: pulumi state unprotect --all --stack {name}"
        )
    runtime.delete_data(name)
    print(f"Deleted: {', '.join(doomed) or 'nothing'}")
    return 0
