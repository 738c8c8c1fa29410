"""How a store that recovers its data reports how far it is: at the end of a line that its readiness check prints."""

from __future__ import annotations

import re

PROGRESS_PATTERN = re.compile(r"\brecovering: .*$", re.MULTILINE)


def progress(output: str) -> str:
    """The last report in what a readiness check printed, for instance `recovering: 43 %`; empty where there is none."""
    found = PROGRESS_PATTERN.findall(output)
    return str(found[-1]).strip() if found else ""
