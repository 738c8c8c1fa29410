"""A test's access to the cluster: the one on this machine, or the one that `PTI_TEST_KUBECONFIG` selects."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from testbed.cluster.constants import CONTEXT, KUBECONFIG, VERSION, kubernetes_directory
from testbed.cluster.processes import ClusterError, pid_of, run


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """An API server with administrator credentials."""

    kubeconfig: Path
    context: str
    server_version: str
    """Such as `1.34.4`."""

    def kubectl(self, *arguments: str, input: str | None = None) -> str:
        """Run kubectl and return its output; a failure is a `ClusterError` with the error output. `input` is its
        standard input."""
        return run(*self.command(), *arguments, text=input)

    def command(self) -> tuple[str, ...]:
        """Return the kubectl command with credentials, for tests that start it themselves."""
        return (str(kubectl_program()), f"--kubeconfig={self.kubeconfig}", f"--context={self.context}")


def connect(kubeconfig: Path, context: str | None = CONTEXT) -> Cluster:
    """Return the cluster of a kubeconfig if it responds; without a context, use the file's current one."""
    login = (kubectl_program(), f"--kubeconfig={kubeconfig}")
    chosen = context or run(*login, "config", "current-context").strip()
    version = json.loads(run(*login, f"--context={chosen}", "get", "--raw=/version"))["gitVersion"]
    return Cluster(kubeconfig=kubeconfig, context=chosen, server_version=version.removeprefix("v").split("+")[0])


def cluster_from_environment() -> Cluster | None:
    """Return a cluster that the tester provides; nothing here starts, changes or stops it."""
    kubeconfig = os.environ.get("PTI_TEST_KUBECONFIG")
    return connect(Path(kubeconfig), os.environ.get("PTI_TEST_CONTEXT")) if kubeconfig else None


def current_cluster() -> Cluster:
    """Return the cluster from the environment, or the one on this machine while it is up."""
    if named := cluster_from_environment():
        return named
    if not pid_of("apiserver"):
        raise ClusterError("the test cluster isn't up: python -m testbed.cluster up")
    return connect(KUBECONFIG)


def kubectl_program() -> Path:
    """Return the kubectl built with the node, or else the one installed on the machine."""
    built = kubernetes_directory(VERSION) / "kubectl"
    found = built if built.exists() else shutil.which("kubectl")
    if found is None:
        raise ClusterError("kubectl isn't installed: python -m testbed.cluster build")
    return Path(found)
