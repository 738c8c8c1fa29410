"""Objects of stacks as `make render` writes them, with every kind that the backend uses."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import yaml

from operations.configuration import read_configuration
from operations.project import ROOT
from operations.render.manifests import manifests
from operations.render.placeholders import Placeholders
from operations.render.resources import recorded_resources
from settings import NAMESPACE, Settings
from tests.e2e.kubernetes.configuration import merged

EXTENSION_KINDS = {"Certificate", "Cluster", "HTTPRoute"}
"""Kinds that an API server supports only after cert-manager, CloudNativePG or the Gateway API are installed."""

ALL_FEATURES: Mapping[str, Any] = {
    "services": {
        "deploy": "all",
        "migrationCommand": ["npm", "run", "migrate"],
        "replicas": None,
        "scaling": {"minReplicas": 2, "maxReplicas": 6},
    },
    "monitoring": {"enabled": True},
    # Six replicas of each service need more connections than two.
    "postgres": {"maxConnections": 320, "memoryMib": 4096},
}
VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "prod": {},
    "with monitoring, scaling and migrations": ALL_FEATURES,
    "with the cluster's own Ingress": {
        "edge": {
            "kind": "ingress",
            "nginx": None,
            "ingress": {
                "className": "traefik",
                "annotations": {"traefik.ingress.kubernetes.io/router.entrypoints": "websecure"},
            },
        },
    },
    "with a Gateway and an operator's database": {
        "edge": {
            "kind": "gateway-api",
            "nginx": None,
            "gatewayApi": {
                "gateway": "public",
                "gatewayNamespace": "gateway-system",
                "httpsListener": "https",
                "httpListener": "http",
            },
        },
        "postgres": {"mode": "cloudnativepg"},
    },
}
"""Differences from Pulumi.prod.yaml."""


@functools.cache
def objects_of(variant: str, version: str) -> list[Mapping[str, Any]]:
    """Return every object of a variant of prod for clusters from a version on, with placeholders as its secrets.

    A version that is newer than the file's `kubernetes.minVersion` changes nothing.
    """
    file = yaml.safe_load((ROOT / "Pulumi.prod.yaml").read_text())["config"]
    known = {key.removeprefix(f"{NAMESPACE}:"): value for key, value in file.items() if not key.startswith("pulumi:")}
    wanted = merged(known, VARIANTS[variant])
    wanted["kubernetes"]["minVersion"] = min(wanted["kubernetes"]["minVersion"], minor_version(version), key=_numbers)
    _, supplied = read_configuration("prod")
    settings = Settings.model_validate(wanted)
    placeholders = Placeholders.of(settings, supplied)
    return [one.manifest for one in manifests(recorded_resources(settings, placeholders, "prod"), placeholders)]


def minor_version(version: str) -> str:
    """Return the minor version of a full one: 1.28 of 1.28.15."""
    return version.rpartition(".")[0]


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def as_text(objects: list[Mapping[str, Any]]) -> str:
    """Return the objects as YAML documents."""
    return yaml.safe_dump_all([dict(one) for one in objects], sort_keys=False)
