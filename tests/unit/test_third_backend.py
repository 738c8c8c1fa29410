"""A third backend: its own package, one row in the table, and no other edit."""

from __future__ import annotations

import ast
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backends.base import DeployOptions
from backends.create import create_backend
from backends.docker.backend import DockerBackend
from backends.kubernetes.backend import KubernetesBackend
from backends.refusals import require_part
from capabilities import BACKENDS, Capability, missing_reason, offers
from operations import runtimes
from operations.preview import without_secrets_and_addresses
from operations.project import ROOT, OperationError
from operations.render import render
from recording.recorder import Recording, record
from settings.backend import BackendSettings, ImagesSettings, KubernetesSettings
from settings.ports import published_ports
from tests.unit import memory_backend
from tests.unit.conftest import FULL_DOCKER, PROVIDER_SECRETS, Deploy, deploy_platform
from tests.unit.kubernetes_recording import CLUSTER
from tests.unit.memory_backend import MemoryBackend
from tests.unit.mistakes import assert_refused, parsed, refused_keys
from tests.unit.test_structure import ALLOWED_IMPORTS, imports, is_within
from workloads import Service, WorkloadError

MEMORY = {"backend": {"kind": "memory"}}
PLATFORM: Mapping[str, Any] = {**FULL_DOCKER, **MEMORY, "gateway": {"enabled": True}}


@pytest.fixture(autouse=True)
def _row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BACKENDS, "memory", memory_backend.ROW)


def test_a_third_backend_only_imports_what_every_backend_may_import() -> None:
    found = {*imports(ast.parse(Path(memory_backend.__file__).read_text()))}
    strays = {name for name in found if not any(is_within(name, package) for package in ALLOWED_IMPORTS["backends"])}
    assert strays == {"__future__.annotations", "collections.abc.Iterable", "collections.abc.Sequence"}


@pytest.fixture(scope="module")
def deployment() -> tuple[MemoryBackend, Recording[Any]]:
    """The whole platform on the backend."""
    backend = MemoryBackend("dev")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(BACKENDS, "memory", memory_backend.ROW)
        patch.setattr(memory_backend, "create", lambda settings, stack: backend)
        return backend, deploy_platform(PLATFORM, PROVIDER_SECRETS)


def test_a_third_backend_runs_every_workload_that_docker_runs(
    deployment: tuple[MemoryBackend, Recording[Any]], deploy: Deploy
) -> None:
    backend, recording = deployment
    on_docker = deploy(FULL_DOCKER)
    running = {one.name for one in on_docker.of_type("Container") if one.inputs.get("start", True)}
    assert running - {*backend.owners} == {"node-exporter"}
    assert {*backend.owners} <= running
    assert backend.owners["rdv"] == "Microservice"
    providers = {one.type.partition(":")[0] for one in recording.registrations}
    assert providers == {"pti-calendar", "pulumi", "tls"}


def test_outputs_have_the_addresses_of_a_third_backend(
    deployment: tuple[MemoryBackend, Recording[Any]],
) -> None:
    outputs = deployment[1].exports
    assert outputs["postgres"]["host"] == "postgres.pti.local"
    assert outputs["monitoring"]["prometheus"] == "http://prometheus.pti.local:9090"


def test_settings_are_checked_by_the_capabilities_of_a_third_backend() -> None:
    configuration = {
        **MEMORY,
        "postgres": {"mode": "cloudnativepg"},
        "redis": {"port": 6380},
        "kubernetes": {"context": "production"},
        "services": {"deploy": ["rdv"], "local": ["rdv"], "replicas": 2},
        "edge": {"kind": "ingress"},
        "gateway": {"enabled": True, "tls": {"source": "cert-manager", "issuer": "ca"}},
    }
    assert_refused(
        refused_keys(configuration),
        {
            "postgres.mode": ("is not supported on Memory: memory has no operator",),
            "redis.port": ("has no effect on Memory: memory has no ports of a host",),
            "kubernetes": ("has no effect with backend.kind 'memory'",),
            "services.local": ("is not supported on Memory: memory has no host",),
            "services.replicas": ("is not supported on Memory: memory is short",),
            "edge.kind": ("is not supported on Memory: memory has no edge",),
            "gateway.tls.source": ("is not supported on Memory: memory has no issuer",),
        },
    )
    assert list(published_ports(parsed(MEMORY))) == []


def test_the_backend_refuses_with_the_message_of_the_settings() -> None:
    backend = create_backend(parsed(MEMORY), stack="dev")
    workload = Service(name="web", image="web:1.0", user=1000, memory_mib=64, replicas=2)
    with pytest.raises(WorkloadError, match="'web': replicas=2 is not supported on Memory: memory is short"):
        backend.deploy(workload, DeployOptions())
    with pytest.raises(WorkloadError, match=r"^the edge is not supported on Memory: memory has no edge$"):
        require_part(backend.edge, "the edge", backend.kind, Capability.EDGE)


def test_unsupported_operations_on_a_third_backend_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (runtimes, sys.modules["operations.render.render"]):
        monkeypatch.setattr(module, "read_configuration", lambda stack: (parsed(MEMORY), set()))
    with pytest.raises(OperationError, match=r"Memory .* has no status, logs or wipe"):
        runtimes.runtime_of("dev")
    with pytest.raises(OperationError, match="'memory' can't be rendered"):
        render("dev")


def test_a_third_backend_is_rendered_by_the_module_in_its_row(monkeypatch: pytest.MonkeyPatch) -> None:
    settings, rendered = parsed(MEMORY), list[tuple[object, ...]]()
    monkeypatch.setitem(BACKENDS, "memory", replace(memory_backend.ROW, renderer=memory_backend.__name__))
    monkeypatch.setattr(memory_backend, "write", lambda *given: rendered.append(given), raising=False)
    monkeypatch.setattr(sys.modules["operations.render.render"], "read_configuration", lambda stack: (settings, set()))
    render("dev")
    ((used, _, stack, directory),) = rendered
    assert (used, stack, directory) == (settings, "dev", ROOT / "rendered/dev")


def test_a_preview_contacts_no_third_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    row = replace(memory_backend.ROW, section="memory", preview_values={"address": "nowhere"})
    monkeypatch.setitem(BACKENDS, "memory", row)
    config = {"pti-calendar:memory": {"address": "memory.example.com", "size": 1}}
    assert without_secrets_and_addresses({"config": config}) == {
        "config": {"pti-calendar:memory": {"address": "nowhere", "size": 1}}
    }


OPTIONAL_PARTS = {
    "edge": Capability.EDGE,
    "certificate_issuer": Capability.CERTIFICATES,
    "postgres_operator": Capability.POSTGRES_OPERATOR,
}


def both_backends() -> tuple[DockerBackend, KubernetesBackend]:
    """The product's two backends."""
    docker = DockerBackend(BackendSettings(), ImagesSettings(), stack="dev", protect=False)
    return docker, KubernetesBackend(KubernetesSettings(**CLUSTER), ImagesSettings(), stack="dev", protect=False)


@pytest.mark.parametrize("part", OPTIONAL_PARTS)
def test_a_backend_has_the_optional_parts_that_its_row_offers(part: str) -> None:
    backends = (*record(both_backends).result, MemoryBackend("dev"))
    assert {one.kind: getattr(one, part) is not None for one in backends} == {
        kind: offers(kind, OPTIONAL_PARTS[part]) for kind in BACKENDS
    }


def test_every_capability_is_missing_somewhere_and_offered_somewhere() -> None:
    for capability in Capability:
        assert {offers(kind, capability) for kind in BACKENDS} == {True, False}, capability
        assert {missing_reason(kind, capability) is None for kind in BACKENDS} == {True, False}, capability
