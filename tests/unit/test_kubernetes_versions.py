"""Every field of the objects exists in each supported version of Kubernetes.

An API server that doesn't know a field drops it, or refuses the object. The recorded fields are compared with those of
real API servers in `tests/e2e/kubernetes/test_strict_validation.py`.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import pulumi
import pytest

from backends.base import DeployOptions
from backends.kubernetes.backend import KubernetesBackend
from settings.backend import KubernetesSettings
from testbed.cluster import fields
from tests.unit.kubernetes_recording import CLUSTER, port, record_program, workload
from tests.unit.test_kubernetes_schema import program

OLDEST = KubernetesSettings(**CLUSTER).min_version


def whole_program(backend: KubernetesBackend, parent: pulumi.Resource) -> None:
    """Deploy workloads with every field, and two with permissions in the cluster."""
    program(backend, parent)
    backend.deploy(workload("nodes", reads_node_metrics=True), DeployOptions(parent=parent))
    backend.deploy(workload("objects", ports=(port(),), reads_deployed_objects=True), DeployOptions(parent=parent))


@functools.cache
def objects(min_version: str) -> list[Mapping[str, Any]]:
    recording = record_program(whole_program, min_version=min_version, storage_class="fast", image_pull_secrets=("a",))
    return [one.inputs for one in recording.registrations if one.type.startswith("kubernetes:")]


def minor(version: str) -> str:
    return version.rpartition(".")[0]


def test_the_oldest_recorded_version_is_the_oldest_supported_one() -> None:
    assert minor(fields.VERSIONS[0]) == OLDEST


@pytest.mark.parametrize("version", fields.VERSIONS)
def test_every_field_exists_in_the_version_that_the_objects_are_for(version: str) -> None:
    known = fields.recorded(version)
    assert [one for manifest in objects(minor(version)) for one in fields.unknown(manifest, known)] == []


@pytest.mark.parametrize("version", fields.VERSIONS)
def test_every_field_for_the_oldest_version_exists_in_newer_ones(version: str) -> None:
    known = fields.recorded(version)
    assert [one for manifest in objects(OLDEST) for one in fields.unknown(manifest, known)] == []


def test_the_recorded_kinds_are_those_of_the_objects() -> None:
    assert {f"{one['apiVersion']} {one['kind']}" for one in objects(OLDEST)} == {*fields.KINDS}


def test_a_field_of_a_newer_version_would_be_found() -> None:
    known = fields.recorded(fields.VERSIONS[0])
    found = {one.rpartition(".")[2] for manifest in objects("1.33") for one in fields.unknown(manifest, known)}
    assert found == {"sleep"}


def test_a_kind_of_another_api_version_would_be_found() -> None:
    known = fields.recorded(fields.VERSIONS[0])
    assert fields.unknown({"apiVersion": "batch/v1beta1", "kind": "CronJob"}, known) == ["batch/v1beta1 CronJob"]
