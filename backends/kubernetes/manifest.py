"""Kubernetes objects as plain manifests, written as in YAML; values may be `pulumi.Input`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Manifest = dict[str, Any]

SKIP_AWAIT = {"pulumi.com/skipAwait": "true"}

NO_WAIT = {"pulumi.com/waitFor": "jsonpath={.metadata.uid}"}
"""Annotation of an object whose readiness is awaited elsewhere. The provider waits only for its creation and deletion.
`skipAwait` also skips the deletion (pulumi/pulumi-kubernetes#3154): a successor could find an object being deleted.
"""


def manifest(
    api_version: str,
    kind: str,
    *,
    name: str | None,
    labels: Mapping[str, str],
    annotations: Mapping[str, str] | None = None,
    **parts: Any,
) -> Manifest:
    """Return an object. Without a name, the provider generates one for each new content."""
    metadata: Manifest = {"labels": dict(labels)}
    if name is not None:
        metadata["name"] = name
    if annotations:
        metadata["annotations"] = dict(annotations)
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **parts}


def merged(declared: Manifest, overrides: Mapping[str, Any]) -> Manifest:
    """Return the object with the overrides: a mapping is merged, any other value replaces the declared one."""
    found = dict(declared)
    for key, value in overrides.items():
        inner = found.get(key)
        found[key] = merged(inner, value) if isinstance(inner, dict) and isinstance(value, Mapping) else value
    return found


def mebibytes(number: int) -> str:
    """Format memory in MiB as the API server returns it."""
    return f"{number}Mi" if number % 1024 else f"{number // 1024}Gi"


def cores(number: float) -> str:
    """Format CPU cores as the API server returns them."""
    thousandths = round(number * 1000)
    return f"{thousandths}m" if thousandths % 1000 else str(thousandths // 1000)
