"""Prerequisites that the cluster must meet before an update changes anything: version, CRDs, storage, metrics, DNS.

The declared objects determine what is checked, in previews, too. Nothing is refused if kubectl can't answer.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pulumi

from backends.kubernetes import dns, kubectl, storage
from backends.kubernetes.manifest import Manifest
from settings.backend import KubernetesSettings
from settings.base import for_stack
from workloads import WorkloadError

METRICS_GROUP = "metrics.k8s.io"
BUILT_IN_GROUPS = ("networking.k8s.io", "rbac.authorization.k8s.io")
"""API groups that every cluster serves, in addition to those without a dot."""

PRODUCT_BY_GROUP: Mapping[str, str] = {
    "postgresql.cnpg.io": "CloudNativePG (https://cloudnative-pg.io/docs/)",
    "cert-manager.io": "cert-manager (https://cert-manager.io/docs/installation/)",
    "gateway.networking.k8s.io": "the Gateway API with a controller (https://gateway-api.sigs.k8s.io/guides/)",
}
"""Maps API groups to the software that provides them."""


class Prerequisites:
    """What the declared objects need from one cluster.

    Args:
        settings: the cluster.
    """

    def __init__(self, settings: KubernetesSettings, stack: str) -> None:
        self._settings = settings
        self._stack = stack
        self._checks: list[Callable[[], None]] = [self._check_version, self._check_storage]
        self._claims: list[storage.RequiredClaims] = []

    def require_api(self, manifest: Manifest, owner: str) -> None:
        """Note that an object's API must be served."""
        self._checks.append(functools.partial(self._check_api, manifest, owner))

    def require_storage(self, sizes_gib: Mapping[str, int], *, of_cluster: str | None = None) -> None:
        """Note that claims need storage. Those of an operator's cluster are found by its name."""
        self._claims.append(storage.RequiredClaims(sizes_gib, of_cluster))

    def require_metrics(self, workload: str) -> None:
        """Note that an autoscaler needs metrics. Without them, `check` only warns."""
        self._checks.append(functools.partial(self._warn_without_metrics, workload))

    def check(self) -> None:
        """Check everything that is needed.

        Raises:
            WorkloadError: the cluster lacks something; the message describes the fix.
        """
        with ThreadPoolExecutor(1) as threads:
            found = threads.submit(lambda: [*dns.problems(self._settings.dns, self._query)])
            for one in self._checks:
                one()
        for problem in found.result():
            pulumi.log.warn(for_stack(problem, self._stack))

    def _check_version(self) -> None:
        found = self._query("get", "--raw", "/version") or {}
        major, minor = (re.match(r"\d+", str(found.get(key, ""))) for key in ("major", "minor"))
        if major is None or minor is None or (int(major[0]), int(minor[0])) >= (1, self._settings.min_minor):
            return
        version = f"{major[0]}.{minor[0]}"
        raise WorkloadError(
            f"kubernetes.minVersion: {self._settings.min_version!r}, but the API server's version is {version}. "
            f"Upgrade the cluster, or set it: pulumi config set --path 'pti-calendar:kubernetes.minVersion' {version}"
        )

    def _check_api(self, manifest: Manifest, owner: str) -> None:
        api_version = str(manifest["apiVersion"])
        group = api_version.partition("/")[0]
        if not group.count(".") or group in BUILT_IN_GROUPS or not self._apis or api_version in self._apis:
            return
        product = PRODUCT_BY_GROUP.get(group, f"the software that serves {group}")
        served = sorted(one for one in self._apis if one.startswith(f"{group}/"))
        state = f"it serves {', '.join(served)}" if served else "the CRD is missing"
        raise WorkloadError(
            f"{owner} needs {manifest['kind']} of {api_version}, but the cluster doesn't have it ({state}). Install or "
            f"upgrade {product} first."
        )

    def _check_storage(self) -> None:
        if not self._claims:
            return
        found = self._query("get", "storageclasses,persistentvolumeclaims", "--output", "json")
        if found is not None:
            for warning in storage.check(self._claims, self._settings.storage_class, found["items"], self._volumes):
                pulumi.log.warn(for_stack(warning, self._stack))

    def _volumes(self) -> list[dict[str, Any]] | None:
        found = self._query("get", "persistentvolumes", "--output", "json")
        return None if found is None else found["items"]

    def _warn_without_metrics(self, workload: str) -> None:
        if self._apis and not any(one.startswith(f"{METRICS_GROUP}/") for one in self._apis):
            pulumi.log.warn(
                f"{workload} has 'scaling', but the cluster doesn't serve {METRICS_GROUP}: its autoscaler can't "
                "measure the load and doesn't change the number of replicas. Install metrics-server: "
                "https://github.com/kubernetes-sigs/metrics-server"
            )

    @functools.cached_property
    def _apis(self) -> frozenset[str]:
        """Return the API group versions that are served; empty if unknown."""
        found = self._query("get", "--raw", "/apis") or {}
        return frozenset(one["groupVersion"] for group in found.get("groups", []) for one in group["versions"])

    def _query(self, *arguments: str) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = json.loads(kubectl.read(self._settings, *arguments))
        except (kubectl.KubectlError, ValueError):
            return None
        return found
