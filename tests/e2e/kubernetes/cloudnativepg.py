"""The CloudNativePG operator running on the test cluster, installed with its release manifest from its Go module."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from settings.stores.postgres import CloudNativePgSettings
from testbed.cluster import Cluster
from tests.e2e.kubernetes import extensions
from tests.e2e.kubernetes.manifests import as_text
from tests.engine.waiting import until

VERSION = "1.30.0"
OPERATOR_IMAGE = f"ghcr.io/cloudnative-pg/cloudnative-pg:{VERSION}"
IMAGES = {OPERATOR_IMAGE: "cloudnative-pg", CloudNativePgSettings().image: "cloudnative-pg-postgresql"}
NAMESPACE = CloudNativePgSettings().operator_namespace
DEPLOYMENT = "cnpg-controller-manager"
INVALID_CLUSTER: dict[str, Any] = {
    "apiVersion": "postgresql.cnpg.io/v1",
    "kind": "Cluster",
    "metadata": {"name": "absurd", "namespace": "default"},
    "spec": {"instances": 1, "storage": {"size": "no size"}},
}
"""A value that the CRD's schema accepts and only the operator's webhook refuses."""


@contextmanager
def installed(cluster: Cluster, folder: Path) -> Iterator[None]:
    """Run the operator for the duration of the context; remove it afterwards, with every `Cluster`.

    Args:
        cluster: a node that can run it.
        folder: an empty directory outside of any Go module.
    """
    extensions.load(IMAGES)
    everything = as_text(_objects(folder))
    cluster.kubectl("apply", "--server-side", "--filename=-", input=everything)
    try:
        cluster.kubectl(*_operator("rollout", "status", f"deployment/{DEPLOYMENT}", "--timeout=180s"))
        until("the operator's webhook responds", lambda: "no size" in _refusal(cluster))
        yield
    finally:
        cluster.kubectl("delete", "--ignore-not-found", "--wait=true", "--filename=-", input=everything)


def operator_log(cluster: Cluster) -> str:
    """Return the operator's log."""
    return cluster.kubectl(*_operator("logs", f"deployment/{DEPLOYMENT}", "--tail=-1"))


def _operator(*arguments: str) -> tuple[str, ...]:
    return "--namespace", NAMESPACE, *arguments


def _objects(folder: Path) -> list[Mapping[str, Any]]:
    """Return the release's objects, with the operator's resources sized for a busy node with two cores."""
    module, _ = extensions.DEFINITIONS["Cluster"]
    release = extensions.sources(module, folder) / "releases" / f"cnpg-{VERSION}.yaml"
    objects: list[Any] = list(yaml.load_all(release.read_text(), getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
    (deployment,) = (one for one in objects if one["kind"] == "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["image"] == OPERATOR_IMAGE
    # The node already has its images. With a tenth of a core, the operator doesn't start within its 30 s beside
    # other pods.
    container["imagePullPolicy"] = "IfNotPresent"
    container["resources"] = {"requests": {"cpu": "50m", "memory": "100Mi"}, "limits": {"memory": "300Mi"}}
    container["startupProbe"]["failureThreshold"] = 30
    return objects


def _refusal(cluster: Cluster) -> str:
    """Return the error for a Cluster that the webhook must refuse."""
    command = [*cluster.command(), "apply", "--server-side", "--dry-run=server", "--filename=-"]
    done = subprocess.run(command, input=json.dumps(INVALID_CLUSTER), capture_output=True, text=True)
    return done.stderr
