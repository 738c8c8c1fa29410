"""Objects as they are, but such that no pod is started and nothing is waited for: what is left is the control plane."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ANNOTATION_PREFIX = "pulumi.com/"
SKIP_AWAIT = {f"{ANNOTATION_PREFIX}skipAwait": "true"}
"""The provider has no switch for all objects at once: it reads this annotation of each."""

ASLEEP: Mapping[str, Mapping[str, Any]] = {
    "Deployment": {"replicas": 0},
    "StatefulSet": {"replicas": 0},
    "Job": {"suspend": True},
}


def without_pods(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The object with its controller asleep, and with no other wish to the provider than not to wait."""
    metadata = dict(manifest["metadata"])
    kept = {
        key: value for key, value in metadata.get("annotations", {}).items() if not key.startswith(ANNOTATION_PREFIX)
    }
    metadata["annotations"] = kept | SKIP_AWAIT
    changed = dict(manifest) | {"metadata": metadata}
    if asleep := ASLEEP.get(manifest["kind"]):
        changed["spec"] = {**manifest["spec"], **asleep}
    return changed
