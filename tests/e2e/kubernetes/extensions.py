"""What operators bring into a cluster: their images, and the definitions of their kinds from their own Go modules.

A module's archive is checked against Go's checksum database before anything of it is used.
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
    # With all that a controller looks for; the one that is left out is no definition, and outlives them.
    "Gateway": ("sigs.k8s.io/gateway-api@v1.5.1", "config/crd/standard/*.io_[!v]*.yaml"),
}
"""Kind to the module and the files in it."""

ESTABLISHED = 'jsonpath={.status.conditions[?(@.type=="Established")].status}'


def load(images: Mapping[str, str]) -> None:
    """Hands images of controllers to the node; the test is skipped where the engine has none of that name.

    Args:
        images: name to the folder of the recipe that makes it. A cluster that the environment names has its own.
    """
    if access.named_by_environment():
        return
    for image, recipe in images.items():
        if subprocess.run(["docker", "image", "inspect", image], capture_output=True).returncode:
            pytest.skip(f"the image {image} is not here: docker pull {image}, or {BUILD} {recipe}")
    cluster.load(images)


def sources(module: str, folder: Path) -> Path:
    """The files of a module (`name@version`); the test is skipped where it can't be had.

    Args:
        module: its name and version.
        folder: an empty one outside of any Go module, to run Go in.
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
    """Makes a kind known to an API server.

    Args:
        server: the API server.
        kind: one of `DEFINITIONS`.
        folder: as for `sources`.
    """
    files = _files(kind, folder)
    server.kubectl("apply", "--server-side", *files)
    # `kubectl wait` gives up on an object that has no conditions yet.
    for file in files:
        established = ("get", file, "--output", ESTABLISHED)
        until(f"{file} is served", lambda asked=established: _answer(server, *asked) == "True")  # type: ignore[misc]


def _answer(server: Cluster, *asked: str) -> str | None:
    """What kubectl prints; None if it can't find what a new object doesn't have yet."""
    try:
        return server.kubectl(*asked)
    except ClusterError:
        return None


def remove(server: Cluster, kind: str, folder: Path) -> None:
    """Makes the API server forget a kind, and every object of it. See `install`."""
    server.kubectl("delete", *_files(kind, folder), "--ignore-not-found")


def _files(kind: str, folder: Path) -> list[str]:
    """kubectl's options that name the definitions."""
    module, pattern = DEFINITIONS[kind]
    return [f"--filename={file}" for file in sorted(sources(module, folder).glob(pattern))]
