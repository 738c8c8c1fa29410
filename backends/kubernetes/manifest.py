"""Kubernetes objects as plain manifests, written as in YAML; values may be `pulumi.Input`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Manifest = dict[str, Any]

SKIP_AWAIT = {"pulumi.com/skipAwait": "true"}

NO_WAIT = {"pulumi.com/waitFor": "jsonpath={.metadata.uid}"}
"""Of an object whose readiness somebody else waits for. The provider waits until it exists, and for its end when it is
deleted; with `skipAwait` it wouldn't (pulumi/pulumi-kubernetes#3154), and a successor could meet an object that goes.
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
    """An object; without a name the provider gives it one of its own for every new content."""
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
    """An amount of memory in MiB, in the form that the API server gives back."""
    return f"{number}Mi" if number % 1024 else f"{number // 1024}Gi"


def cores(number: float) -> str:
    """An amount of CPU, in the form that the API server gives back."""
    thousandths = round(number * 1000)
    return f"{thousandths}m" if thousandths % 1000 else str(thousandths // 1000)
