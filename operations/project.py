"""The project's paths, and the environment of its commands. Standard library only."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

PROJECT = "pti-calendar"
"""The project's name in Pulumi.yaml."""

ROOT = Path(__file__).parent.parent
VENV = ROOT / ".venv"
TOOLS = ROOT / ".tools"
STATE = ROOT / ".state"
PASSPHRASE = STATE / "passphrase"
BACKEND_VARIABLE = "PULUMI_BACKEND_URL"
"""The variable that names a state backend. It takes precedence over a login."""

PASSPHRASE_VARIABLES = ("PULUMI_CONFIG_PASSPHRASE", "PULUMI_CONFIG_PASSPHRASE_FILE")


class OperationError(Exception):
    """An operation can't continue. The message describes the fix."""


def local_backend() -> str:
    """Return the address of the state in this checkout.

    It disables the `.attrs` files next to the state's files. They are written in place: a kill during the write leaves
    an empty one, and then no command can read the state ("failed to load checkpoint: EOF").
    """
    return f"file://{STATE}{_LOCAL_OPTIONS}"


_LOCAL_OPTIONS = "?metadata=skip"


def is_checkout_backend(backend: str) -> bool:
    """Return whether the address is the local state of a checkout of this project, which never counts as a user's
    choice."""
    return backend.startswith("file://") and backend.endswith(f"/{STATE.name}{_LOCAL_OPTIONS}")


def chosen_backend(base: Mapping[str, str]) -> str | None:
    """Return the state backend that the user chose with a variable; None if `activate` set it, here or elsewhere."""
    backend = base.get(BACKEND_VARIABLE)
    return None if backend is None or is_checkout_backend(backend) else backend


def chosen_passphrase(base: Mapping[str, str]) -> bool:
    """Return whether the user has set a passphrase; `activate` of another checkout doesn't count."""
    generated = f"/{STATE.name}/{PASSPHRASE.name}"
    return any(variable in base and not base[variable].endswith(generated) for variable in PASSPHRASE_VARIABLES)


def environment(base: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment that `activate` sets, for commands that the operations start."""
    chosen = dict(os.environ if base is None else base)
    if chosen_backend(chosen) is None:
        chosen.pop(BACKEND_VARIABLE, None)
        if STATE.is_dir():
            chosen[BACKEND_VARIABLE] = local_backend()
    chosen["PATH"] = os.pathsep.join([str(VENV / "bin"), str(TOOLS / "bin"), chosen.get("PATH", os.defpath)])
    if not chosen_passphrase(chosen):
        for variable in PASSPHRASE_VARIABLES:
            chosen.pop(variable, None)
        if PASSPHRASE.exists():
            chosen["PULUMI_CONFIG_PASSPHRASE_FILE"] = str(PASSPHRASE)
    return chosen
