"""Ends the program before anything is registered if the machine can't run the stack."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import Protocol

import pulumi

from settings.base import for_stack


class Checked(Protocol):
    """A backend with checks of the machine."""

    def preflight(self, published: Iterable[tuple[str, int]]) -> None:
        """Raise a `RunError` if the machine can't run the stack."""


def require_preflight(backend: Checked, published: Iterable[tuple[str, int]], stack: str) -> None:
    """Run the checks of a backend. If one fails, print its message and end the process.

    After an exception, the SDK (3.260) first registers everything that the program has declared and then reports the
    exception: the update would create resources although the message says that nothing has been changed. Declared
    resources are sent only once the program returns, so nothing has been sent here.
    """
    try:
        backend.preflight(published)
    except pulumi.RunError as error:
        print(f"error: {for_stack(str(error), stack)}", file=sys.stderr, flush=True)
        os._exit(1)
