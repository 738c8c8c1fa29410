"""The keys that a configuration has under the last release."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from settings.renamed import RenamedKey, with_current_keys

ADDED = (
    ("backups",),
    ("edge", "nginx", "loadBalancer"),
    ("images", "mirrors"),
    ("kubernetes", "dns", "namespace"),
    ("kubernetes", "dns", "port"),
)
"""Keys that the last release doesn't know."""


def with_former_keys(configuration: Mapping[str, Any], rows: Sequence[RenamedKey]) -> dict[str, Any]:
    """Return a configuration, by its keys without the namespace, under the former keys."""
    known = without_added_keys(configuration)
    return with_current_keys(known, [RenamedKey(row.new, row.old) for row in rows])[0]


def without_added_keys(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration without the keys that the last release doesn't know."""
    known = copy.deepcopy({**configuration})
    for *path, key in ADDED:
        section: Any = known
        for part in path:
            section = section.get(part, {})
        section.pop(key, None)
    return known
