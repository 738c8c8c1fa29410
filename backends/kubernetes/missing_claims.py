"""Claims that are missing: in the cluster, their place is taken by what the StatefulSet made from its template."""

from __future__ import annotations

import json
from typing import Any

from backends.kubernetes.claims import MISSING


def missing_claims(listed: str) -> list[str]:
    """The missing ones among claims, as kubectl lists them in JSON; none where it gave something else."""
    try:
        found: list[dict[str, Any]] = json.loads(listed)["items"]
    except ValueError:
        return []
    return [str(one["metadata"]["name"]) for one in found if one["spec"].get("storageClassName") == MISSING]
