"""Cache of the tests' slow downloads and builds, outside every checkout."""

from __future__ import annotations

import os
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "pti-calendar"
"""The folder that `.ci/provide` fills."""
