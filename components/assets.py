"""The files that containers mount, read from `assets/`."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parent.parent / "assets"


def asset(path: str) -> str:
    """The text of one file, for instance `redis/redis.conf`."""
    return (ROOT / path).read_text()


def assets(folder: str, pattern: str = "*") -> dict[str, str]:
    """Name to text of a folder's files that match, in the order of their names."""
    return {path.name: path.read_text() for path in sorted((ROOT / folder).glob(pattern))}
