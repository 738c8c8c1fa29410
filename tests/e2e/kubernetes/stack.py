"""The prod-like stack on the test cluster: run with `pulumi`, queried with kubectl, and accessed like its users do."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from backends.kubernetes.labels import NAME_LABEL
from settings import NAMESPACE as SETTINGS
from settings.catalog import SERVICES
from testbed.cluster import Cluster
from testbed.cluster.access import kubectl_program
from tests.e2e.kubernetes import configuration
from tests.e2e.outages import ASK_SCRIPT, InternalClient
from tests.e2e.platform import Platform, certificate_of
from tests.engine.pulumi_stack import PulumiStack
from tests.engine.waiting import until

NAMESPACE = "pti-calendar"
TASK = "Job"
"""Kind of the owner of task pods."""


class ClusterStack(PulumiStack):
    """A stack whose workloads are pods of the cluster.

    Args:
        home: directory for state, configuration and logs.
        cluster: the cluster that runs its pods.
    """

    def __init__(self, home: Path, cluster: Cluster) -> None:
        self.cluster = cluster
        super().__init__(
            home,
            configuration={
                "pulumi:disable-default-providers": ["docker", "kubernetes"],
                **configuration.prod(cluster),
            },
        )
        self.set_secrets(configuration.THIRD_PARTY)

    def _environment(self) -> dict[str, str]:
        """Return the environment with kubectl, which an update uses to wait."""
        found = super()._environment()
        return found | {"PATH": f"{kubectl_program().parent}:{found['PATH']}"}

    def change(self, values: Mapping[str, Any]) -> None:
        """Set configuration keys at any depth; None removes a key."""
        document = yaml.safe_load(self.config_file.read_text())
        for section, fields in values.items():
            key = f"{SETTINGS}:{section}"
            document["config"][key] = configuration.merged(document["config"].get(key, {}), fields)
        self.config_file.write_text(yaml.safe_dump(document))

    @contextmanager
    def running(self, program: Path) -> Iterator[None]:
        """Use the program in another folder for the duration of the context, then restore the program and the
        configuration."""
        own, self._program = self._program, program
        try:
            with self.temporary_configuration():
                yield
        finally:
            self._program = own

    @contextmanager
    def temporary_configuration(self) -> Iterator[None]:
        """Restore the configuration at the end."""
        configured = self.config_file.read_text()
        try:
            yield
        finally:
            self.config_file.write_text(configured)

    @contextmanager
    def staying_as_it_is(self) -> Iterator[None]:
        """Check at the end that nothing is left to change and that the pods are the same."""
        before = self.identities()
        yield
        self.preview("--expect-no-changes").succeeded()
        assert self.identities() == before

    def remove(self) -> None:
        """Delete the namespace with everything in it, and the stack's cluster-wide objects."""
        self.end_orphans()
        self.cluster.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait=true")
        rights = f"{NAMESPACE}-prometheus-kubelets"
        self.cluster.kubectl("delete", "clusterrole,clusterrolebinding", rights, "--ignore-not-found")

    def kubectl(self, *arguments: str, input: str | None = None) -> str:
        """Run kubectl in the platform's namespace."""
        return self.cluster.kubectl("--namespace", NAMESPACE, *arguments, input=input)

    def namespaced(self) -> list[str]:
        """Return the command of `kubectl`, for callers that start it themselves."""
        return [*self.cluster.command(), "--namespace", NAMESPACE]

    def refused(self, *arguments: str) -> str:
        """Run a kubectl command that the API server must refuse, and return the error."""
        done = subprocess.run([*self.namespaced(), *arguments], capture_output=True, text=True)
        assert done.returncode != 0, done.stdout
        return done.stderr

    def remarks(self, *arguments: str) -> str:
        """Run a kubectl command that must succeed, and return the API server's warnings."""
        return subprocess.run([*self.namespaced(), *arguments], capture_output=True, text=True, check=True).stderr

    def objects(self, kind: str) -> list[dict[str, Any]]:
        """Return all objects of a kind."""
        listed: list[dict[str, Any]] = json.loads(self.kubectl("get", kind, "--output=json"))["items"]
        return listed

    def pods(self, workload: str | None = None) -> dict[str, dict[str, Any]]:
        """Map names to pods, of one workload or all, except task pods and terminating pods."""
        return {
            pod["metadata"]["name"]: pod
            for pod in self.objects("pods")
            if TASK not in {owner["kind"] for owner in pod["metadata"].get("ownerReferences", [])}
            and workload in (None, pod["metadata"]["labels"].get(NAME_LABEL))
            and "deletionTimestamp" not in pod["metadata"]
        }

    @contextmanager
    def scaled(self, workload: str, replicas: int) -> Iterator[None]:
        """Scale a StatefulSet for the duration of the context."""
        (before,) = (
            one["spec"]["replicas"] for one in self.objects("statefulsets") if one["metadata"]["name"] == workload
        )
        self.kubectl("scale", f"statefulset/{workload}", f"--replicas={replicas}")
        try:
            until(f"{replicas} pods of {workload} are left", lambda: len(self.every_pod(workload)) == replicas)
            yield
        finally:
            self.kubectl("scale", f"statefulset/{workload}", f"--replicas={before}")

    def every_pod(self, workload: str) -> list[str]:
        """Return the names of a workload's pods, including terminating ones."""
        selector = f"{NAME_LABEL}={workload}"
        return self.kubectl(
            "get", "pods", "--selector", selector, "--output=jsonpath={.items[*].metadata.name}"
        ).split()

    def inside(self) -> InternalClient:
        """Return access to the services from one pod of each."""
        pods = {service.name: next(iter(self.pods(service.name))) for service in SERVICES}
        ports = {service.name: service.port for service in SERVICES}

        def ask(service: str, path: str) -> str:
            return self.kubectl(
                "exec", pods[service], "--", "python", "-c", ASK_SCRIPT, f"http://127.0.0.1:{ports[service]}{path}"
            )

        return InternalClient(self.platform(), ask)

    def settle(self) -> None:
        """Wait until the old pods of an update are gone; an update ends as soon as the new ones are available."""
        until("the last old pod is gone", lambda: all(map(is_settled, self.objects("deployments"))))

    def identities(self) -> dict[str, str]:
        """Wait until old pods are gone, then map each pod to its UID."""
        self.settle()
        return {name: pod["metadata"]["uid"] for name, pod in self.pods().items()}

    def rolled_since(self, before: dict[str, str]) -> set[str]:
        """Wait until old pods are gone, then return the workloads whose pods have changed."""
        self.settle()
        return {
            pod["metadata"]["labels"][NAME_LABEL]
            for name, pod in self.pods().items()
            if before.get(name) != pod["metadata"]["uid"]
        }

    def all_ready(self) -> bool:
        """Return whether every expected pod runs and is ready."""
        return all(is_ready(pod) for pod in self.pods().values())

    def platform(self, certificate: str | None = None) -> Platform:
        """Return the platform behind the load balancer's node ports, which users connect to here.

        Args:
            certificate: the expected certificate, if it isn't the stack's own.
        """
        (balancer,) = (one for one in self.objects("services") if one["spec"]["type"] == "LoadBalancer")
        ports = {f"{port['name']}_port": port["nodePort"] for port in balancer["spec"]["ports"]}
        return self.platform_at(**ports, certificate=certificate or certificate_of(self.export()))

    def platform_at(self, **where: Any) -> Platform:
        """Return the platform behind other node ports; `where` has the fields that the outputs don't contain."""
        gateway = yaml.safe_load(self.config_file.read_text())["config"][f"{SETTINGS}:gateway"]
        return Platform.of(
            self.outputs(),
            address=self._node_address(),
            public_service=configuration.PUBLIC_SERVICE,
            max_body_mib=gateway.get("maxBodyMib", Platform.max_body_mib),
            **where,
        )

    def _node_address(self) -> str:
        """Return the first node's address for node ports."""
        nodes = json.loads(self.cluster.kubectl("get", "nodes", "--output=json"))["items"]
        addresses = {one["type"]: one["address"] for one in nodes[0]["status"]["addresses"]}
        return str(addresses["InternalIP"])


def is_ready(pod: dict[str, Any]) -> bool:
    """Return whether a pod is ready."""
    conditions = {one["type"]: one["status"] for one in pod["status"].get("conditions", [])}
    return conditions.get("Ready") == "True"


def is_settled(deployment: dict[str, Any]) -> bool:
    """Return whether a Deployment has all its pods, each from the current template."""
    wanted, status = deployment["spec"]["replicas"], deployment["status"]
    seen = status.get("observedGeneration") == deployment["metadata"]["generation"]
    return seen and all(status.get(key) == wanted for key in ("replicas", "updatedReplicas", "availableReplicas"))
