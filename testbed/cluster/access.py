"""How a test reaches the cluster: our own on this machine, or the one that `PTI_TEST_KUBECONFIG` names."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from testbed.cluster.places import CONTEXT, KUBECONFIG, VERSION, kubernetes_programs
from testbed.cluster.processes import ClusterError, pid_of, run


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """An API server, and how to log in there as its administrator."""

    kubeconfig: Path
    context: str
    server_version: str
    """Such as `1.34.4`."""

    def kubectl(self, *arguments: str, input: str | None = None) -> str:
        """What kubectl prints; its failure is a `ClusterError` with what it said. `input` is its standard input."""
        return run(*self.command(), *arguments, text=input)

    def command(self) -> tuple[str, ...]:
        """kubectl with its login, for a test that starts it by itself."""
        return (str(kubectl_program()), f"--kubeconfig={self.kubeconfig}", f"--context={self.context}")


def reach(kubeconfig: Path, context: str | None = CONTEXT) -> Cluster:
    """The cluster of a kubeconfig, if it answers; without a context, the file's current one."""
    login = (kubectl_program(), f"--kubeconfig={kubeconfig}")
    chosen = context or run(*login, "config", "current-context").strip()
    version = json.loads(run(*login, f"--context={chosen}", "get", "--raw=/version"))["gitVersion"]
    return Cluster(kubeconfig=kubeconfig, context=chosen, server_version=version.removeprefix("v").split("+")[0])


def named_by_environment() -> Cluster | None:
    """A cluster that the tester provides; nothing here starts, changes or stops it."""
    kubeconfig = os.environ.get("PTI_TEST_KUBECONFIG")
    return reach(Path(kubeconfig), os.environ.get("PTI_TEST_CONTEXT")) if kubeconfig else None


def current() -> Cluster:
    """The environment's cluster, or our own while it is up."""
    if named := named_by_environment():
        return named
    if not pid_of("apiserver"):
        raise ClusterError("the test cluster isn't up: python -m testbed.cluster up")
    return reach(KUBECONFIG)


def kubectl_program() -> Path:
    """The one built with the node; else the machine's."""
    built = kubernetes_programs(VERSION) / "kubectl"
    found = built if built.exists() else shutil.which("kubectl")
    if found is None:
        raise ClusterError("kubectl isn't here: python -m testbed.cluster build")
    return Path(found)


def node_resources(cluster: Cluster) -> dict[str, str]:
    """What the first node has for pods: `cpu`, `memory`, `pods`, …"""
    nodes = json.loads(cluster.kubectl("get", "nodes", "--output=json"))["items"]
    resources: dict[str, str] = nodes[0]["status"]["allocatable"]
    return resources
