"""Images are pulled with the docker command; a refusal names the registry and `docker login`."""

from __future__ import annotations

from pathlib import Path

import pytest

from backends.docker.engine import Engine
from backends.docker.images import pull, registry_of
from recording.recorder import Recording
from workloads import WorkloadError

PRIVATE = "registry.example.com:5000/team/rdv-service:1.4.2"


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A docker command whose engine has no image, and that records its calls; `answer` is what a pull prints."""
    command = tmp_path / "docker"
    command.write_text(
        f"""#!/bin/sh
echo "$@" >> {tmp_path}/calls
[ "$1" = pull ] || exit 1
cat {tmp_path}/answer
[ ! -s {tmp_path}/answer ]
"""
    )
    command.chmod(0o755)
    (tmp_path / "answer").touch()
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return tmp_path


@pytest.mark.parametrize(
    ("reference", "registry"),
    [
        ("redis:8.10.1", "docker.io"),
        ("apache/kafka:3.9.1", "docker.io"),
        ("docker.io/library/redis:8", "docker.io"),
        ("ghcr.io/kafbat/kafka-ui:v1.5.0", "ghcr.io"),
        ("localhost/rdv:1", "localhost"),
        ("localhost:5000/rdv@sha256:0123", "localhost:5000"),
        (PRIVATE, "registry.example.com:5000"),
    ],
)
def test_the_registry_of_an_image_is_found(reference: str, registry: str) -> None:
    assert registry_of(reference) == registry


def test_a_missing_image_is_pulled_with_the_docker_command(docker: Path) -> None:
    pull(Engine(), PRIVATE)
    assert (docker / "calls").read_text().splitlines()[1:] == [f"pull --quiet {PRIVATE}"]


def test_an_image_that_the_engine_has_is_not_pulled(docker: Path) -> None:
    (docker / "docker").write_text(f'#!/bin/sh\necho "$@" >> {docker}/calls\n')
    pull(Engine(), PRIVATE)
    assert "pull" not in (docker / "calls").read_text()


# Recorded from docker 28.2 with an engine 20.10, or quoted from the issues in the comments.
@pytest.mark.parametrize(
    "answer",
    [
        'Error response from daemon: Head "https://registry.example.com/v2/…": no basic auth credentials',
        "Error response from daemon: pull access denied for team/x, repository does not exist or may require "
        "'docker login': denied: requested access to the resource is denied",
        'Error response from daemon: Head "https://ghcr.io/v2/…": unauthorized',
        "denied: Your authorization token has expired. Reauthenticate and try again.",  # aws/aws-cli#3067
        'error getting credentials - err: exec: "docker-credential-ecr-login": executable file not found in $PATH',
    ],
)
def test_a_refusal_names_the_registry_and_the_login(docker: Path, answer: str) -> None:
    (docker / "answer").write_text(answer)
    with pytest.raises(WorkloadError) as refused:
        pull(Engine(), PRIVATE)
    lines = str(refused.value).splitlines()
    assert lines[0] == f"The registry registry.example.com:5000 refuses the image {PRIVATE}:"
    assert lines[-1].endswith(": docker login registry.example.com:5000")


def test_the_login_of_docker_hub_has_no_address(docker: Path) -> None:
    (docker / "answer").write_text("pull access denied for team/x")
    with pytest.raises(WorkloadError, match=r"The registry docker\.io refuses .*(?s:.*): docker login$"):
        pull(Engine(), "team/x:1")


@pytest.mark.parametrize("answer", ["manifest for team/x:2 not found: manifest unknown", "dial tcp: no such host"])
def test_another_failure_does_not_suggest_a_login(docker: Path, answer: str) -> None:
    (docker / "answer").write_text(answer)
    with pytest.raises(WorkloadError, match=answer) as failed:
        pull(Engine(), "team/x:2")
    assert "login" not in str(failed.value)


def test_every_image_is_pulled_and_no_credential_reaches_the_provider(dev: Recording[object]) -> None:
    images = dev.of_type("RemoteImage")
    assert images
    assert {one.hooks["before_create"] for one in images} == {("docker-pull-image",)}
    assert "registryAuth" not in dev.get("docker", "docker").inputs
