"""The namespace that everything lives in."""

from __future__ import annotations

from backends.kubernetes import labels
from backends.kubernetes.manifest import Manifest, manifest

ENFORCED_VERSION = "v1.28"
"""The rules of the oldest cluster we run on: an upgrade of the cluster must not refuse pods that ran before it."""


def namespace(name: str) -> Manifest:
    """A namespace that refuses every pod short of the `restricted` Pod Security Standard."""
    security = {
        "enforce": "restricted",
        "enforce-version": ENFORCED_VERSION,
        # What the newest rules would refuse is told, in the audit log and to who creates it.
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
            **labels.platform(),
            **{f"pod-security.kubernetes.io/{key}": value for key, value in security.items()},
        },
    )
