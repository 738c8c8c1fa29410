"""Progress reports of a recovering store: the end of a line that its readiness check prints."""

from __future__ import annotations

import re

PROGRESS_PATTERN = re.compile(r"\brecovering: .*$", re.MULTILINE)


def progress(output: str) -> str:
    """Return the last report in a readiness check's output, such as `recovering: 43 %`; empty if there is none."""
    found = PROGRESS_PATTERN.findall(output)
    return str(found[-1]).strip() if found else ""
