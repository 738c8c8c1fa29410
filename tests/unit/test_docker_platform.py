"""Podman is refused, and the limits of a rootless engine are named, from the engine's own answers."""

from __future__ import annotations

import json
from typing import Any

import pulumi
import pytest

from backends.base import DeployOptions
from backends.docker.backend import DockerBackend
from backends.docker.engine import Engine, EngineError
from backends.docker.platform import EnginePlatform, UnsupportedEngine, platform_of
from recording.recorder import Recording, record
from settings.backend import BackendSettings, ImagesSettings
from workloads import Service

# Recorded from Podman 4.3.1 and Docker 20.10.24, and those of a rootless engine from moby's daemon/info_unix.go.
ANSWERS: dict[str, tuple[list[dict[str, Any]], list[str]]] = {
    "podman": (
        [
            {"Name": "Podman Engine", "Version": "4.3.1", "Details": {"APIVersion": "4.3.1", "MinAPIVersion": "4.0.0"}},
            {"Name": "Conmon", "Version": "conmon version 2.1.6, commit: unknown", "Details": {"Package": "Unknown"}},
            {"Name": "OCI Runtime (crun)", "Version": "crun version 1.8.1", "Details": {"Package": "Unknown"}},
            {"Name": "Engine", "Version": "4.3.1", "Details": {"ApiVersion": "1.41", "MinAPIVersion": "1.24"}},
        ],
        ["name=seccomp,profile=default"],
    ),
    "docker": (
        [
            {"Name": "Engine", "Version": "20.10.24+dfsg1", "Details": {"ApiVersion": "1.41", "MinAPIVersion": "1.12"}},
            {"Name": "containerd", "Version": "1.6.20~ds1", "Details": {"GitCommit": "1.6.20~ds1-1+deb12u3"}},
            {"Name": "runc", "Version": "1.1.5+ds1", "Details": {"GitCommit": "1.1.5+ds1-1+deb12u1"}},
        ],
        ["name=seccomp,profile=default"],
    ),
    "rootless": (
        [{"Name": "Engine", "Version": "28.2.2", "Details": {"ApiVersion": "1.50", "MinAPIVersion": "1.24"}}],
        ["name=seccomp,profile=builtin", "name=rootless", "name=cgroupns"],
    ),
}


@pytest.fixture(params=ANSWERS)
def kind(request: pytest.FixtureRequest) -> str:
    """A kind of engine."""
    return str(request.param)


def answer_as(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """Let every engine answer like this kind, and have no objects."""
    components, options = ANSWERS[kind]
    answers = {"version": json.dumps(components), "info": json.dumps(options)}
    monkeypatch.setattr(Engine, "run", lambda engine, command, *arguments, **options: answers.get(command, ""))
    monkeypatch.setattr(Engine, "identity", lambda engine: ("ID", "laptop"))


def updated(
    monkeypatch: pytest.MonkeyPatch, kind: str, *, ports: tuple[tuple[str, int], ...] = (), preview: bool = False
) -> Recording[None]:
    """Update a stack whose workload connects to the machine."""
    answer_as(monkeypatch, kind)

    def program() -> None:
        docker = DockerBackend(BackendSettings(), ImagesSettings(), stack="dev", protect=False)
        parent = pulumi.ComponentResource("test:index:Parent", "parent")
        kong = Service(name="kong", image="kong:3.9.5", user=1000, memory_mib=64, host_gateway=True)
        docker.deploy(kong, DeployOptions(parent=parent))
        docker.preflight(ports)

    return record(program, preview=preview)


def test_the_kind_of_an_engine_is_known_from_its_answers(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    answer_as(monkeypatch, kind)
    expected = EnginePlatform(is_podman=kind == "podman", is_rootless=kind == "rootless")
    assert platform_of(Engine()) == expected


def test_an_engine_that_does_not_respond_is_left_to_other_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object, **options: object) -> str:
        raise EngineError("no response")

    monkeypatch.setattr(Engine, "run", fail)
    assert platform_of(Engine()) == EnginePlatform()


def test_podman_is_refused_before_anything_is_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnsupportedEngine, match=r"docker\.sock is Podman.*uid=.*Nothing has been changed"):
        updated(monkeypatch, "podman")


def test_a_rootless_engine_is_warned_about_with_the_ports_and_the_callers(monkeypatch: pytest.MonkeyPatch) -> None:
    ports = (("edge.nginx.httpPort", 80), ("postgres.port", 65432))
    bound, host = updated(monkeypatch, "rootless", ports=ports).log
    assert "ports below 1024 (edge.nginx.httpPort: 80)" in bound
    assert "but kong must connect to it" in host


def test_a_common_engine_gets_no_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    assert updated(monkeypatch, "docker", ports=(("edge.nginx.httpPort", 80),)).log == []


def test_a_preview_does_not_query_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    assert updated(monkeypatch, "rootless", ports=(("edge.nginx.httpPort", 80),), preview=True).log == []
