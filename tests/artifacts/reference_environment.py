"""A virtual environment with the reference service's own requirements, created once outside the checkout."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from testbed import cache

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
REQUIREMENTS = EXAMPLES / "reference_service" / "requirements.txt"
CACHE = cache.CACHE / "reference-service"


class EnvironmentMissing(Exception):
    """The requirements could not be installed here."""


def python() -> Path:
    """Return the environment's Python; other requirements or another Python version use another environment.

    Raises:
        EnvironmentMissing: no package index is reachable, or it has no packages for this Python.
    """
    identity = hashlib.sha256(sys.version.encode() + REQUIREMENTS.read_bytes()).hexdigest()[:16]
    home = CACHE / identity
    if not home.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(dir=CACHE, prefix="partial-"))
        try:
            _run(sys.executable, "-m", "venv", str(partial))
            # Use Python instead of bin/pip, whose script contains the folder's current path.
            _run(str(partial / "bin" / "python"), "-m", "pip", "install", "--quiet", "--requirement", str(REQUIREMENTS))
            try:
                partial.rename(home)
            except OSError:
                if not home.exists():  # Otherwise, a concurrent run has created the folder.
                    raise
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return home / "bin" / "python"


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise EnvironmentMissing(f"{' '.join(command)}: {' '.join(reason)}")
