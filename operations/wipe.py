"""Deleting a stack's data, which nothing else does."""

from __future__ import annotations

from operations import containers, stack
from operations.project import OperationError


def wipe(name: str) -> int:
    """Takes the stack down and deletes its volumes, once its name has been typed.

    Raises:
        OperationError: nothing was confirmed, or the stack could not be taken down; then no volume is deleted.
    """
    doomed = containers.volumes(name)
    print(f"This takes stack '{name}' down and deletes its data for good:")
    for volume in doomed or ["(no volumes)"]:
        print(f"  {volume}")
    try:
        typed = input(f"Type the name of the stack to go on ({name}): ")
    except EOFError:
        typed = ""
    if typed.strip() != name:
        raise OperationError("Not confirmed; nothing has been changed.")
    if stack.exists(name) and (code := stack.destroy(name)):
        raise OperationError(f"The stack could not be taken down (exit code {code}); its volumes are untouched.")
    # Asked again: the volumes with files went with the stack.
    if remaining := containers.volumes(name):
        containers.remove_volumes(name, remaining)
    print(f"Deleted: {', '.join(doomed) or 'nothing'}")
    return 0
