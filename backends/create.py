"""Creates the backend of a stack's settings, and imports only its provider."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from backends.base import Backend
from capabilities import BACKENDS
from settings import Settings


def create_backend(settings: Settings, *, stack: str) -> Backend:
    """Return the backend of a stack, with its provider. Call it once."""
    create: Callable[[Settings, str], Backend] = import_module(BACKENDS[settings.backend.kind].module).create
    return create(settings, stack)
