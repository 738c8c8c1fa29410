"""A Kubernetes backend without a cluster, to test the objects it declares."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

import pulumi

from backends.base import DeployOptions
from backends.kubernetes.backend import KubernetesBackend
from recording.recorder import Recording, Registration, default_provider_mock, record
from settings.backend import ImagesSettings, KubernetesSettings
from workloads import Port, ScheduledTask, Service, StatefulService, Task, Workload

CONTROLLERS: Mapping[type[Workload], str] = {
    Service: "Deployment",
    StatefulService: "StatefulSet",
    Task: "Job",
    ScheduledTask: "CronJob",
}
CLUSTER: Mapping[str, Any] = {"kubeconfig": "~/.kube/config", "context": "test"}

WorkloadType = TypeVar("WorkloadType", bound=Workload)
Program = Callable[[KubernetesBackend, pulumi.Resource], None]


def kubernetes_provider_mock(type_: str, inputs: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """Answer like the provider: an object without a name gets one that depends on its content."""
    if not type_.startswith("kubernetes:"):
        return default_provider_mock(type_, inputs)
    metadata = dict(inputs["metadata"])
    if "name" not in metadata:
        content = json.dumps(inputs, sort_keys=True)
        metadata["name"] = f"auto-{hashlib.sha256(content.encode()).hexdigest()[:12]}"
    return f"{metadata.get('namespace', '')}/{metadata['name']}", {"metadata": metadata}


def record_program(
    program: Program,
    *,
    protect: bool = False,
    mirrors: Mapping[str, str] | None = None,
    preview: bool = False,
    **settings: Any,
) -> Recording[KubernetesBackend]:
    """Run a program on a new backend, with a parent component."""

    def full_backend() -> KubernetesBackend:
        backend = KubernetesBackend(
            KubernetesSettings(**{**CLUSTER, **settings}),
            ImagesSettings(mirrors=mirrors or {}),
            stack="prod",
            protect=protect,
        )
        program(backend, pulumi.ComponentResource("test:index:Parent", "parent"))
        return backend

    return record(full_backend, mock=kubernetes_provider_mock, stack="prod", preview=preview)


def record_workloads(*workloads: Workload, **options: Any) -> Recording[KubernetesBackend]:
    """Deploy workloads in this order and return the recording."""

    def program(backend: KubernetesBackend, parent: pulumi.Resource) -> None:
        for one in workloads:
            backend.deploy(one, DeployOptions(parent=parent))

    return record_program(program, **options)


KNOWN: dict[str, tuple[object, Recording[KubernetesBackend]]] = {}
"""The results of `recording_of` by its arguments. The arguments are kept, because their texts contain addresses."""


def recording_of(*workloads: Workload, **options: Any) -> Recording[KubernetesBackend]:
    """Return the recording of `record_workloads` without hooks, which would keep every resource of the run. Equal
    arguments are recorded once, so use it only if nothing else affects the recording."""
    key = repr((workloads, options))
    if key not in KNOWN:
        KNOWN[key] = (workloads, options), replace(record_workloads(*workloads, **options), hooks={})
    return KNOWN[key][1]


def minimal_workload(kind: type[WorkloadType], name: str = "web", **fields: Any) -> WorkloadType:
    """Return a workload of a kind, with only the required fields."""
    required: dict[str, Any] = {"name": name, "image": f"{name}:1.0", "user": 1000, "memory_mib": 64}
    if issubclass(kind, Task):
        required |= {"command": ("migrate", "--all")}
    if issubclass(kind, ScheduledTask):
        required |= {"schedule": "30 2 * * *"}
    return kind(**required | fields)


def workload(name: str = "web", **fields: Any) -> Service:
    """Return a service with only the required fields."""
    return minimal_workload(Service, name, **fields)


def stateful(name: str = "web", **fields: Any) -> StatefulService:
    """Return a stateful service with only the required fields."""
    return minimal_workload(StatefulService, name, **fields)


def task(name: str = "migrate", **fields: Any) -> Task:
    """Return a task with only the required fields."""
    return minimal_workload(Task, name, **fields)


def scheduled(name: str = "backup", **fields: Any) -> ScheduledTask:
    """Return a scheduled task with only the required fields."""
    return minimal_workload(ScheduledTask, name, **fields)


def port(number: int = 8080, name: str = "http", **fields: Any) -> Port:
    """Return a port."""
    return Port(name=name, number=number, **fields)


def by_type_and_name(recording: Recording[Any]) -> list[Registration]:
    """Return what was registered; the order of resources that don't depend on each other isn't defined."""
    return sorted(recording.registrations, key=lambda one: (one.type, one.name))


def find_manifest(recording: Recording[Any], kind: str, name: str) -> Mapping[str, Any]:
    """Return the manifest of an object."""
    return recording.get(kind, name).inputs


def pod_template_of(recording: Recording[Any], name: str = "web") -> Mapping[str, Any]:
    """Return a workload's pod template, whichever controller owns it."""
    templates: list[Mapping[str, Any]] = [
        one.inputs["spec"].get("jobTemplate", one.inputs)["spec"]["template"]
        for kind in CONTROLLERS.values()
        for one in recording.of_type(kind)
        if one.name == name
    ]
    (template,) = templates
    return template


def container_spec(recording: Recording[Any], name: str = "web") -> Mapping[str, Any]:
    """Return the only container of a workload's pods."""
    (container,) = pod_template_of(recording, name)["spec"]["containers"]
    assert isinstance(container, dict)
    return container
