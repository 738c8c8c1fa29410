"""Finds claims that are being deleted, and missing ones for which the StatefulSet has created substitutes."""

from __future__ import annotations

import json
from typing import Any

from backends.kubernetes.claims import MISSING_CLAIM_CLASS


def missing_claims(listed: str) -> list[str]:
    """Return the missing claims in kubectl's JSON list; none if the text isn't such a list."""
    return [
        str(one["metadata"]["name"])
        for one in _items(listed)
        if one["spec"].get("storageClassName") == MISSING_CLAIM_CLASS
    ]


def terminating_claims(listed: str) -> list[dict[str, Any]]:
    """Return the claims in kubectl's JSON list that are being deleted."""
    return [one for one in _items(listed) if "deletionTimestamp" in one["metadata"]]


def _items(listed: str) -> list[dict[str, Any]]:
    try:
        found: list[dict[str, Any]] = json.loads(listed)["items"]
    except ValueError:
        return []
    return found
