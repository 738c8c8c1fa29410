"""The files that containers mount, read from `assets/`."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parent.parent / "assets"


def asset(path: str) -> str:
    """Return the text of one file, for instance `redis/redis.conf`."""
    return (ROOT / path).read_text()


def assets(folder: str, pattern: str = "*") -> dict[str, str]:
    """Return the matching files of a folder: names and texts, sorted by name."""
    return {path.name: path.read_text() for path in sorted((ROOT / folder).glob(pattern))}
