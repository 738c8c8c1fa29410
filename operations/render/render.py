"""`make render`: writes a stack as a Compose file, or as manifests for kubectl, with the same program but without
Pulumi."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from capabilities import BACKENDS
from operations.configuration import read_configuration
from operations.project import ROOT, OperationError
from operations.render.placeholders import Placeholders
from settings import Settings

Write = Callable[[Settings, Placeholders, str, Path], None]
"""Writes the stack with that name into a folder, with an example of its environment file, and prints the next steps."""


def render(stack: str) -> None:
    """Write the stack into `rendered/<stack>/`, with an example of its environment file.

    Raises:
        OperationError: the stack doesn't exist, its configuration has a mistake, or an environment file is incomplete.
    """
    settings, supplied = read_configuration(stack)
    renderer = BACKENDS[settings.backend.kind].renderer
    if renderer is None:
        raise OperationError(f"A stack with backend.kind '{settings.backend.kind}' can't be rendered.")
    write: Write = import_module(renderer).write
    write(settings, Placeholders.of(settings, supplied), stack, ROOT / "rendered" / stack)
