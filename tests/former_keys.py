"""The keys that a configuration has under the last release."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from settings.renamed import RENAMED, Renamed, with_present_keys

ADDED = (("backend", "networkPool"), ("kubernetes", "minVersion"), ("images", "mirrors"))
"""Sections and keys that the last release doesn't know."""


def with_former_keys(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration, by its keys without the namespace, under the former keys."""
    former = with_present_keys(configuration, [Renamed(row.new, row.old) for row in RENAMED])[0]
    for section, key in ADDED:
        former.get(section, {}).pop(key, None)
    return former
