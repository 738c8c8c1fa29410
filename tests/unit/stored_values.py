"""How Pulumi stores what an operator types after `pulumi config set --path KEY`.

`tests/engine/test_stored_values.py` compares this with the real command.
"""

from __future__ import annotations

import re

TYPED = ("0.1", "4", "-4", "true", "false", "on", "True", "0777", "1e3", "1.10", "0x10", "1_000", ".5", "12:30", "null")


def stored(typed: str) -> bool | int | str:
    """Return the value in the stack's file: `true`, `false` and whole numbers as such, all else as text."""
    if typed in ("true", "false"):
        return typed == "true"
    return int(typed) if re.fullmatch(r"-?(0|[1-9][0-9]*)", typed) else typed
