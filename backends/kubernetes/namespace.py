"""The platform's namespace."""

from __future__ import annotations

from backends.kubernetes import labels
from backends.kubernetes.manifest import Manifest, manifest

ENFORCED_VERSION = "v1.28"
"""Policy version of the oldest supported cluster, so that a cluster upgrade doesn't refuse existing pods."""


def namespace(name: str) -> Manifest:
    """Return a namespace that enforces the `restricted` Pod Security Standard."""
    security = {
        "enforce": "restricted",
        "enforce-version": ENFORCED_VERSION,
        # Pods that the newest rules would refuse cause an audit entry and a warning.
        "audit": "restricted",
        "audit-version": "latest",
        "warn": "restricted",
        "warn-version": "latest",
    }
    return manifest(
        "v1",
        "Namespace",
        name=name,
        labels={
            **labels.platform_labels(),
            **{f"pod-security.kubernetes.io/{key}": value for key, value in security.items()},
        },
    )
