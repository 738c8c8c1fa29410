"""A private registry: `docker login` and credential helpers apply to an update, and no credential reaches the state."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from settings.stores.redis import RedisSettings
from testbed.cache import CACHE
from tests.engine.conftest import MakeStack
from tests.engine.docker_engine import docker
from tests.engine.pulumi_stack import PulumiStack
from tests.engine.small_programs import WORKLOADS
from tests.engine.waiting import until
from tests.ports import free_port

PASSWORDS = {"first": "the-first-password", "second": "the-second-password"}
HASHES = """\
first:$2b$05$abcdefghijklmnopqrstuuk4kJ7J9/fpxqEzAqwriOqALOfbmL0N2
second:$2b$05$abcdefghijklmnopqrstuuNCBn.XgdEqK.3J9Qr/kIKJvZYMsQfvS
"""


@dataclass(frozen=True)
class Registry:
    """A registry that requires a login, and its one image, which the engine doesn't have."""

    address: str

    @property
    def image(self) -> str:
        """Return the image's name."""
        return f"{self.address}/team/web:1"

    def forget_image(self) -> None:
        """Remove the image from the engine."""
        docker("image", "rm", self.image, check=False)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A running registry."""
    program = shutil.which("docker-registry", path=f"{os.environ['PATH']}:{CACHE / 'bin'}")
    if program is None:
        pytest.skip("docker-registry is missing: .ci/provide fetches it")
    folder = tmp_path_factory.mktemp("registry")
    (folder / "users").write_text(HASHES)
    port = free_port()
    made = Registry(f"127.0.0.1:{port}")
    (folder / "configuration").write_text(
        json.dumps(
            {
                "version": 0.1,
                "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
                "http": {"addr": made.address},
                "auth": {"htpasswd": {"realm": "test", "path": str(folder / "users")}},
            }
        )
    )
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([program, "serve", str(folder / "configuration")], stdout=log, stderr=log)
    try:
        until("the registry responds", lambda: answers(made.address))
        publish(made, folder / "publisher")
        yield made
    finally:
        made.forget_image()
        process.terminate()
        process.wait(30)


def answers(address: str) -> bool:
    """Return whether the registry requires a login."""
    with suppress(OSError):
        try:
            urlopen(f"http://{address}/v2/", timeout=5).close()
        except HTTPError as error:
            return error.code == 401
    return False


def publish(registry: Registry, configuration: Path) -> None:
    """Push the image."""
    log_in(registry, configuration, "first")
    docker("tag", RedisSettings().image, registry.image)
    docker("--config", str(configuration), "push", "--quiet", registry.image)
    registry.forget_image()


def log_in(registry: Registry, configuration: Path, user: str) -> None:
    """Run `docker login`."""
    password = ("--username", user, "--password", PASSWORDS[user])
    docker("--config", str(configuration), "login", *password, registry.address)


@pytest.fixture
def configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's configuration of the docker command, without a login."""
    folder = tmp_path / "docker"
    folder.mkdir()
    monkeypatch.setenv("DOCKER_CONFIG", str(folder))
    return folder


@pytest.fixture
def stack(registry: Registry, make_stack: MakeStack) -> PulumiStack:
    """A new stack that runs the registry's image, which the engine doesn't have."""
    registry.forget_image()
    return make_stack(program=WORKLOADS, configuration={"scenario": "own-image", "image": registry.image})


def test_without_a_login_the_update_names_the_registry_and_the_command(
    registry: Registry, configuration: Path, stack: PulumiStack
) -> None:
    refused = stack.up().failed()

    assert f"The registry {registry.address} refuses the image {registry.image}" in refused.output
    assert f"docker login {registry.address}" in refused.output
    assert "Traceback" not in refused.output


def test_a_login_is_used_and_stays_out_of_the_state(
    registry: Registry, configuration: Path, stack: PulumiStack
) -> None:
    log_in(registry, configuration, "first")

    stack.up().succeeded()

    assert_without_credentials(stack)
    stack.preview("--refresh", "--expect-no-changes").succeeded()


def test_a_credential_helper_is_used_and_its_rotation_changes_nothing(
    registry: Registry, configuration: Path, stack: PulumiStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = configuration / "answer"
    helper = configuration / "docker-credential-rotating"
    helper.write_text(f'#!/bin/sh\n[ "$1" = get ] && cat {answer}\n')
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{configuration}:{os.environ['PATH']}")
    (configuration / "config.json").write_text(json.dumps({"credHelpers": {registry.address: "rotating"}}))
    answer.write_text(credential(registry, "first"))
    stack.up().succeeded()

    answer.write_text(credential(registry, "second"))

    stack.preview("--refresh", "--expect-no-changes").succeeded()
    stack.destroy().succeeded()
    registry.forget_image()
    stack.up().succeeded()
    assert_without_credentials(stack)


def credential(registry: Registry, user: str) -> str:
    """Return what a credential helper answers."""
    return json.dumps({"ServerURL": registry.address, "Username": user, "Secret": PASSWORDS[user]})


def assert_without_credentials(stack: PulumiStack) -> None:
    """Check that neither the decrypted state nor the event logs contain a password."""
    written = json.dumps(stack.export("--show-secrets")) + "".join(
        log.read_text() for log in stack.home.glob("*.events")
    )
    assert stack.name in written
    for user, password in PASSWORDS.items():
        assert password not in written
        assert base64.b64encode(f"{user}:{password}".encode()).decode() not in written
