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
PASSPHRASE_VARIABLES = ("PULUMI_CONFIG_PASSPHRASE", "PULUMI_CONFIG_PASSPHRASE_FILE")


class OperationError(Exception):
    """An operation can't continue. The message says how to fix it."""


def environment(base: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment that `activate` sets, for commands that the operations start."""
    chosen = dict(os.environ if base is None else base)
    chosen["PATH"] = os.pathsep.join([str(VENV / "bin"), str(TOOLS / "bin"), chosen.get("PATH", os.defpath)])
    if PASSPHRASE.exists() and not any(variable in chosen for variable in PASSPHRASE_VARIABLES):
        chosen["PULUMI_CONFIG_PASSPHRASE_FILE"] = str(PASSPHRASE)
    return chosen
