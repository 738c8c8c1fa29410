"""Objects changed so that no pod starts and nothing is waited for, which leaves the control plane's work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ANNOTATION_PREFIX = "pulumi.com/"
SKIP_AWAIT = {f"{ANNOTATION_PREFIX}skipAwait": "true"}
"""The provider has no global option for this: it reads this annotation of each object."""

ASLEEP: Mapping[str, Mapping[str, Any]] = {
    "Deployment": {"replicas": 0},
    "StatefulSet": {"replicas": 0},
    "Job": {"suspend": True},
}


def without_pods(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return the object with its controller paused, and with only the annotation not to wait."""
    metadata = dict(manifest["metadata"])
    kept = {
        key: value for key, value in metadata.get("annotations", {}).items() if not key.startswith(ANNOTATION_PREFIX)
    }
    metadata["annotations"] = kept | SKIP_AWAIT
    changed = dict(manifest) | {"metadata": metadata}
    if asleep := ASLEEP.get(manifest["kind"]):
        changed["spec"] = {**manifest["spec"], **asleep}
    return changed
