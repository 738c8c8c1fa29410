"""Options that a component passes for a workload's resources, on both backends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pulumi
import pytest

from backends.addresses import Addresses
from backends.base import Backend, DeployOptions
from backends.docker.backend import DockerBackend
from backends.kubernetes.backend import KubernetesBackend
from operations.project import PROJECT
from recording.recorder import Recording, record
from settings.backend import BackendSettings, ImagesSettings, KubernetesSettings
from tests.unit.kubernetes_recording import CLUSTER, kubernetes_provider_mock
from workloads import Exec, FileSet, Probe, StatefulService, Volume, WorkloadError

GROUP = "test:index:Group"
STORE = StatefulService(
    name="store",
    image="store:1.0",
    user=1000,
    memory_mib=64,
    file_sets=(FileSet(name="notes", directory="/notes", files={"note": "here"}),),
    volumes=(Volume(name="store-data", mount="/data"),),
    readiness=Probe(check=Exec(command=("true",))),
)


def docker() -> Backend:
    """Return the Docker backend."""
    return DockerBackend(BackendSettings(), ImagesSettings(), stack="dev", protect=False)


def kubernetes() -> Backend:
    """Return the Kubernetes backend."""
    return KubernetesBackend(KubernetesSettings(**CLUSTER), ImagesSettings(), stack="dev", protect=False)


BACKENDS = pytest.mark.parametrize("backend", [docker, kubernetes])


def record_deployment(backend: Callable[[], Backend], **options: Any) -> Recording[None]:
    """Deploy the store in a component that replaced its former parent."""

    def program() -> None:
        with Addresses(project=PROJECT, stack="dev"):
            before, now = (pulumi.ComponentResource(GROUP, name) for name in ("before", "now"))
            aliases = (pulumi.Alias(parent=before),) if options.pop("has_moved", False) else ()
            backend().deploy(STORE, DeployOptions(parent=now, aliases=aliases, **options))

    return record(program, mock=kubernetes_provider_mock)


@BACKENDS
def test_every_resource_of_a_workload_keeps_its_former_addresses(backend: Callable[[], Backend]) -> None:
    own = [one for one in record_deployment(backend, has_moved=True).registrations if one.parent == f"{GROUP} now"]
    assert len(own) >= 4
    moved = {str(one): f"urn:pulumi:dev::{PROJECT}::{GROUP}${one.type}::{one.name}" for one in own}
    assert {str(one): {*one.aliases} - {""} for one in own} == {name: {urn} for name, urn in moved.items()}


@BACKENDS
def test_by_default_resources_have_no_aliases(backend: Callable[[], Backend]) -> None:
    assert {one.aliases for one in record_deployment(backend).registrations} == {()}


@BACKENDS
def test_retained_resources_outlive_the_stack(backend: Callable[[], Backend]) -> None:
    def retained_flags(recording: Recording[None]) -> set[bool]:
        own = [one for one in recording.registrations if one.parent == f"{GROUP} now"]
        return {one.retain_on_delete for one in own}

    assert retained_flags(record_deployment(backend, retain=True)) == {True}
    assert retained_flags(record_deployment(backend)) == {True, False}


def test_overrides_of_a_controller_are_merged_into_its_manifest() -> None:
    override = {"spec": {"template": {"spec": {"nodeSelector": {"disk": "fast"}}}, "replicas": 0}}
    plain, changed = (
        record_deployment(kubernetes, **options).get("StatefulSet", "store").inputs["spec"]
        for options in ({}, {"overrides": override})
    )
    expected = {**plain, "replicas": 0, "template": {**plain["template"], "spec": {**plain["template"]["spec"]}}}
    expected["template"]["spec"]["nodeSelector"] = {"disk": "fast"}
    assert changed == expected


def test_overrides_of_a_container_are_merged_into_its_inputs() -> None:
    override = {"log_opts": {"max-size": "50m"}, "cpu_set": "0-1"}
    plain, changed = (
        record_deployment(docker, **options).get("Container", "store").inputs
        for options in ({}, {"overrides": override})
    )
    assert changed == {**plain, "cpuSet": "0-1", "logOpts": {**plain["logOpts"], "max-size": "50m"}}


def test_an_override_of_an_unknown_docker_input_is_refused() -> None:
    with pytest.raises(WorkloadError, match="workload 'store': a Docker container has no input 'nodeSelector'"):
        record_deployment(docker, overrides={"nodeSelector": {}})
