"""Images of operators, and CRDs from their Go modules.

A module's archive is verified with Go's checksum database before any file is used.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from testbed import cluster
from testbed.cluster import Cluster, ClusterError, access
from tests.engine.machine import BUILD
from tests.engine.waiting import until

DEFINITIONS = {
    "Certificate": ("github.com/cert-manager/cert-manager@v1.21.2", "deploy/crds/cert-manager.io_*.yaml"),
    "Cluster": ("github.com/cloudnative-pg/cloudnative-pg@v1.30.0", "config/crd/bases/*_clusters.yaml"),
    "HTTPRoute": ("sigs.k8s.io/gateway-api@v1.5.1", "config/crd/standard/*_httproutes.yaml"),
    # All CRDs that a controller requires. The pattern omits a file without a CRD, which would never be removed.
    "Gateway": ("sigs.k8s.io/gateway-api@v1.5.1", "config/crd/standard/*.io_[!v]*.yaml"),
}
"""Maps each kind to a Go module and the pattern of its CRD files."""

ESTABLISHED = 'jsonpath={.status.conditions[?(@.type=="Established")].status}'


def load(images: Mapping[str, str]) -> None:
    """Load controller images into the node; skip the test if the engine lacks one.

    Args:
        images: image names and the folders with their recipes. A cluster selected by the environment provides its own.
    """
    if access.cluster_from_environment():
        return
    for image, recipe in images.items():
        if subprocess.run(["docker", "image", "inspect", image], capture_output=True).returncode:
            pytest.skip(f"the image {image} is missing: docker pull {image}, or {BUILD} {recipe}")
    cluster.load(images)


def sources(module: str, folder: Path) -> Path:
    """Return a module's files (`name@version`); skip the test if it can't be downloaded.

    Args:
        module: its name and version.
        folder: an empty directory outside of any Go module, in which to run Go.
    """
    command = ["go", "mod", "download", "-json", module]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip(f"{module}: Go isn't installed")
    if done.returncode:
        pytest.skip(f"{module}: {done.stdout}{done.stderr}")
    return Path(json.loads(done.stdout)["Dir"])


def install(server: Cluster, kind: str, folder: Path) -> None:
    """Install a kind's CRDs on an API server.

    Args:
        server: the API server.
        kind: one of `DEFINITIONS`.
        folder: as for `sources`.
    """
    files = _files(kind, folder)
    server.kubectl("apply", "--server-side", *files)
    # `kubectl wait` fails on an object without conditions.
    for file in files:
        established = ("get", file, "--output", ESTABLISHED)
        until(f"{file} is served", lambda arguments=established: _answer(server, *arguments) == "True")  # type: ignore[misc]


def _answer(server: Cluster, *arguments: str) -> str | None:
    """Return kubectl's output, or None if a new object lacks the requested field."""
    try:
        return server.kubectl(*arguments)
    except ClusterError:
        return None


def remove(server: Cluster, kind: str, folder: Path) -> None:
    """Remove a kind's CRDs and all its objects from the API server. See `install`."""
    server.kubectl("delete", *_files(kind, folder), "--ignore-not-found")


def _files(kind: str, folder: Path) -> list[str]:
    """Return kubectl's options that name the CRD files."""
    module, pattern = DEFINITIONS[kind]
    return [f"--filename={file}" for file in sorted(sources(module, folder).glob(pattern))]
