"""The confirmation of an operation that can't be undone."""

from __future__ import annotations

from operations.project import OperationError


def require_typed_name(stack: str) -> None:
    """Ask the user to type the stack's name.

    Raises:
        OperationError: the user typed something else, or nothing can be typed.
    """
    try:
        typed = input(f"Type the name of the stack to continue ({stack}): ")
    except EOFError:
        typed = ""
    if typed.strip() != stack:
        raise OperationError("Not confirmed; nothing has been changed.")
