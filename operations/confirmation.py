"""The confirmation of an operation that can't be undone."""

from __future__ import annotations

from operations.project import OperationError

NOT_CONFIRMED = "Not confirmed; nothing has been changed."


def require_typed_name(stack: str) -> None:
    """Ask the user to type the stack's name.

    Raises:
        OperationError: the user typed something else, or nothing can be typed.
    """
    if typed(f"Type the name of the stack to continue ({stack}): ") != stack:
        raise OperationError(NOT_CONFIRMED)


def typed(prompt: str) -> str:
    """Return what the user types, without surrounding spaces; empty if nothing can be typed."""
    try:
        return input(prompt).strip()
    except EOFError:
        return ""
