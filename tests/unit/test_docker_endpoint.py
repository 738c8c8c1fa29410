"""Which Docker engine is used: the docker command's rules, and the setting of the stack."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pulumi
import pytest

from backends.base import DeployOptions
from backends.docker.backend import DockerBackend, EngineUnreachable
from backends.docker.endpoint import EndpointError, find
from backends.docker.engine import Engine
from operations import bootstrap
from operations.project import ROOT, OperationError
from recording.recorder import Recording, record
from settings.backend import BackendSettings, ImagesSettings
from workloads import Service

SOCKET = "unix:///var/run/docker.sock"
COLIMA = "unix:///home/me/.colima/default/docker.sock"
REMOTE = "tcp://engine.example.com:2376"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration of the docker command with the contexts `colima` and `remote`, none of them selected."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    add_context(tmp_path, "colima", COLIMA)
    add_context(tmp_path, "remote", REMOTE, files=("ca.pem", "cert.pem", "key.pem"))
    return tmp_path


def add_context(folder: Path, name: str, host: str, files: tuple[str, ...] = (), skip: bool = False) -> None:
    """Write a context as `docker context create` does."""
    identifier = hashlib.sha256(name.encode()).hexdigest()
    meta = folder / "contexts" / "meta" / identifier / "meta.json"
    meta.parent.mkdir(parents=True)
    endpoint = {"Host": host, "SkipTLSVerify": skip}
    meta.write_text(json.dumps({"Name": name, "Metadata": {}, "Endpoints": {"docker": endpoint}}))
    for file in files:
        certificate = folder / "contexts" / "tls" / identifier / "docker" / file
        certificate.parent.mkdir(parents=True, exist_ok=True)
        certificate.touch()


def select(folder: Path, name: str) -> None:
    """Select a context as `docker context use` does."""
    (folder / "config.json").write_text(json.dumps({"auths": {}, "currentContext": name}))


def found(folder: Path, host: str | None = None, **variables: str) -> str:
    """Return the address that is used with these variables."""
    return find(host, {"DOCKER_CONFIG": str(folder), **variables}).address


def test_the_local_socket_is_the_last_choice(folder: Path) -> None:
    assert found(folder) == SOCKET
    assert found(folder / "missing") == SOCKET


@pytest.mark.parametrize(
    ("variables", "address"),
    [
        ({}, COLIMA),
        ({"DOCKER_CONTEXT": "remote"}, REMOTE),
        ({"DOCKER_CONTEXT": "default"}, SOCKET),
        ({"DOCKER_CONTEXT": ""}, COLIMA),
        ({"DOCKER_HOST": "unix:///other.sock", "DOCKER_CONTEXT": "remote"}, "unix:///other.sock"),
        ({"DOCKER_HOST": "10.0.0.9:2375"}, "tcp://10.0.0.9:2375"),
    ],
)
def test_variables_precede_the_selected_context(folder: Path, variables: Mapping[str, str], address: str) -> None:
    select(folder, "colima")
    assert found(folder, **variables) == address


def test_the_setting_of_the_stack_precedes_all(folder: Path) -> None:
    select(folder, "colima")
    own = find(
        "ssh://me@engine",
        {"DOCKER_CONFIG": str(folder), "DOCKER_HOST": "unix:///other.sock", "DOCKER_CONTEXT": "remote"},
    )
    assert str(own) == "ssh://me@engine (backend.host)"


def test_the_certificates_of_a_context_are_used(folder: Path) -> None:
    endpoint = find(None, {"DOCKER_CONFIG": str(folder), "DOCKER_CONTEXT": "remote"})
    assert endpoint.certificates is not None
    assert sorted(one.name for one in Path(endpoint.certificates).iterdir()) == ["ca.pem", "cert.pem", "key.pem"]
    used = endpoint.environment({"DOCKER_CONTEXT": "remote", "HOME": "/home/me"})
    assert used == {
        "HOME": "/home/me",
        "DOCKER_HOST": REMOTE,
        "DOCKER_TLS_VERIFY": "1",
        "DOCKER_CERT_PATH": endpoint.certificates,
    }


def test_variables_name_the_certificates_of_an_address(folder: Path) -> None:
    variables = {"DOCKER_CONFIG": str(folder), "DOCKER_HOST": REMOTE, "DOCKER_CERT_PATH": "/certificates"}
    assert find(None, variables).certificates is None, "the docker command doesn't use TLS then"
    assert find(None, variables | {"DOCKER_TLS_VERIFY": "1"}).certificates == "/certificates"
    local = variables | {"DOCKER_TLS_VERIFY": "1", "DOCKER_HOST": SOCKET}
    assert find(None, local).certificates is None, "a socket has no TLS"


def test_the_certificates_of_the_environment_do_not_reach_another_engine(folder: Path) -> None:
    endpoint = find(None, {"DOCKER_CONFIG": str(folder), "DOCKER_CONTEXT": "colima", "DOCKER_TLS_VERIFY": "1"})
    assert endpoint.environment({"DOCKER_TLS_VERIFY": "1"}) == {"DOCKER_HOST": COLIMA}


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("gone", "DOCKER_CONTEXT 'gone': there is no such context"),
        ("no-ca", r"has no ca\.pem"),
        ("unverified", "doesn't verify the engine's certificate"),
        ("no-docker", "names no Docker engine"),
    ],
)
def test_a_context_that_the_provider_cannot_use_is_refused(folder: Path, name: str, problem: str) -> None:
    add_context(folder, "no-ca", REMOTE, files=("cert.pem", "key.pem"))
    add_context(folder, "unverified", REMOTE, files=("ca.pem", "cert.pem", "key.pem"), skip=True)
    add_context(folder, "no-docker", "")
    with pytest.raises(EndpointError, match=problem):
        found(folder, DOCKER_CONTEXT=name)


def test_an_unreadable_configuration_is_reported(folder: Path) -> None:
    (folder / "config.json").write_text("{")
    with pytest.raises(EndpointError, match=re.escape(str(folder / "config.json"))):
        found(folder)


def deployed(*, host: str | None = None, preflight: bool = True) -> Recording[None]:
    """Deploy a workload on an engine without any networks."""

    def program() -> None:
        docker = DockerBackend(BackendSettings(host=host), ImagesSettings(), stack="dev", protect=False)
        parent = pulumi.ComponentResource("test:index:Parent", "parent")
        docker.deploy(Service(name="web", image="web:1.0", user=1000, memory_mib=64), DeployOptions(parent=parent))
        if preflight:
            docker.preflight([])

    return record(program)


@pytest.fixture
def responding(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every engine responds, and is empty."""
    monkeypatch.setattr(Engine, "run", lambda *arguments, **options: "")
    monkeypatch.setattr(Engine, "identity", lambda engine: ("ID", "laptop"))


def provider(recording: Recording[Any]) -> Mapping[str, Any]:
    """Return the provider's choice of an engine."""
    inputs = recording.get("docker", "docker").inputs
    return {name: inputs[name] for name in ("host", "context", "certPath")}


def test_the_provider_uses_the_selected_context(folder: Path, responding: None) -> None:
    select(folder, "remote")
    certificates = folder / "contexts" / "tls" / hashlib.sha256(b"remote").hexdigest() / "docker"
    assert provider(deployed()) == {"host": REMOTE, "context": "", "certPath": str(certificates)}


def test_the_provider_uses_the_setting_despite_a_context(
    folder: Path, responding: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_CONTEXT", "colima")
    assert provider(deployed(host="unix:///other.sock")) == {
        "host": "unix:///other.sock",
        "context": "",
        "certPath": "",
    }


def test_a_missing_context_ends_the_program_before_anything_is_registered(folder: Path) -> None:
    select(folder, "gone")
    with pytest.raises(EngineUnreachable, match=r"current Docker context 'gone'.*\nNothing has been changed"):
        deployed()


def test_a_rendered_stack_needs_no_context(folder: Path) -> None:
    select(folder, "gone")
    assert deployed(preflight=False).get("Container", "web")


def test_the_bootstrap_queries_the_engine_of_the_dev_stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = tmp_path / "bin" / "docker"
    command.parent.mkdir()
    command.write_text('#!/bin/sh\necho "asked $DOCKER_HOST"; exit 1\n')
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{command.parent}:/usr/bin:/bin")
    file = tmp_path / "Pulumi.dev.yaml"
    monkeypatch.setattr(bootstrap, "DEV_STACK", file)
    file.write_text((ROOT / "Pulumi.dev.yaml").read_text())
    with pytest.raises(OperationError, match=f"asked {SOCKET}"):
        bootstrap.check_engine()
    file.write_text("config:\n  pti-calendar:backend:\n    host: 'unix:///other.sock'\n")
    with pytest.raises(OperationError, match=r"asked unix:///other\.sock"):
        bootstrap.check_engine()
