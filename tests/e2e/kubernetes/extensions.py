"""Definitions of the kinds that operators add to a cluster, from the operators' own Go modules.

A module's archive is checked against Go's checksum database before anything of it is used.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from tests.cluster import Cluster
from tests.engine.waiting import until

DEFINITIONS = {
    "Certificate": ("github.com/cert-manager/cert-manager@v1.21.2", "deploy/crds/*certificates.yaml"),
    "Cluster": ("github.com/cloudnative-pg/cloudnative-pg@v1.30.0", "config/crd/bases/*_clusters.yaml"),
    "HTTPRoute": ("sigs.k8s.io/gateway-api@v1.5.1", "config/crd/standard/*_httproutes.yaml"),
}
"""Kind to the module and the file in it."""

ESTABLISHED = 'jsonpath={.status.conditions[?(@.type=="Established")].status}'


class NotToBeHad(RuntimeError):
    """A module can't be downloaded here."""


def sources(module: str, folder: Path) -> Path:
    """The files of a module (`name@version`).

    Args:
        module: its name and version.
        folder: an empty one outside of any Go module, to run Go in.

    Raises:
        NotToBeHad: saying why.
    """
    try:
        command = ["go", "mod", "download", "-json", module]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    except FileNotFoundError:
        raise NotToBeHad(f"{module}: Go isn't installed") from None
    if done.returncode:
        raise NotToBeHad(f"{module}: {done.stdout}{done.stderr}")
    return Path(json.loads(done.stdout)["Dir"])


def install(cluster: Cluster, kind: str, folder: Path) -> str | None:
    """Makes a kind known to an API server; why not, where its module can't be had.

    Args:
        cluster: the API server.
        kind: one of `DEFINITIONS`.
        folder: as for `sources`.
    """
    module, pattern = DEFINITIONS[kind]
    try:
        (file,) = sources(module, folder).glob(pattern)
    except NotToBeHad as error:
        return str(error)
    cluster.kubectl("apply", "--server-side", f"--filename={file}")
    # `kubectl wait` gives up on an object that has no conditions yet.
    established = ("get", f"--filename={file}", "--output", ESTABLISHED)
    until(f"{kind} is served", lambda: cluster.kubectl(*established) == "True")
    return None
