"""Finds missing claims: the StatefulSet has created another claim from its template in their place."""

from __future__ import annotations

import json
from typing import Any

from backends.kubernetes.claims import MISSING_CLAIM_CLASS


def missing_claims(listed: str) -> list[str]:
    """Return the missing claims in kubectl's JSON list; none if the text is no such list."""
    try:
        found: list[dict[str, Any]] = json.loads(listed)["items"]
    except ValueError:
        return []
    return [str(one["metadata"]["name"]) for one in found if one["spec"].get("storageClassName") == MISSING_CLAIM_CLASS]
