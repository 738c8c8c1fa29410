"""What `make dev` reports on a machine that lacks a prerequisite, and that it keeps existing Pulumi settings."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import sys
from pathlib import Path

import pytest

from operations.bootstrap import PULUMI_VERSION
from tests.e2e.clone import Clone, Outcome, directory_with

UNREACHABLE_URL = "http://127.0.0.1:9"
"""A proxy that doesn't respond."""


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    """A fresh clone in which no command has run."""
    return Clone(tmp_path)


@pytest.fixture
def prepared(clone: Clone) -> Clone:
    """A clone with a fake virtual environment, so that set-up continues with Pulumi."""
    environment = clone.root / ".venv"
    environment.mkdir()
    requirements = (clone.root / "requirements.txt").read_bytes()
    (environment / "requirements.sha256").write_text(hashlib.sha256(requirements).hexdigest())
    return clone


def old_pythons() -> list[Path | None]:
    """Return this machine's unsupported Python interpreters, one per version, or None if it has none."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found = [*pyenv.glob("3.[789].*/bin/python3"), *pyenv.glob("3.10.*/bin/python3")]
    found += [path for minor in (7, 8, 9, 10) if (path := Path(f"/usr/bin/python3.{minor}")).exists()]
    return [*found] or [None]


def pretended_python(folder: Path) -> Path:
    """Return this interpreter disguised as an old version, for machines without an old one."""
    program = (
        "import runpy, sys; sys.version_info = (3, 10, 2, 'final', 0); sys.argv.pop(0); "
        "runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    path = folder / "python3"
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "{program}" "" "$@"\n')
    path.chmod(0o755)
    return path


def test_make_dev_without_an_engine_fails_and_changes_nothing(clone: Clone) -> None:
    before = clone.files()

    refused = clone.run("make", "dev", environment={"DOCKER_HOST": "unix:///nonexistent.sock"}).failed()

    what, remedy, *_ = one_message(refused)
    assert what == "The Docker engine doesn't respond:"
    assert remedy.startswith("Start it (Docker Desktop, or: sudo systemctl start docker)")
    assert "/nonexistent.sock" in refused.output
    assert clone.files() == before


def test_make_dev_without_the_docker_command_fails_and_changes_nothing(clone: Clone, tmp_path: Path) -> None:
    before = clone.files()
    path = str(directory_with(tmp_path / "bin", "pulumi"))

    refused = clone.run(make(), "dev", f"PYTHON={sys.executable}", environment={"PATH": path}).failed()

    (message,) = one_message(refused)
    assert message.startswith("The 'docker' command is missing. Install Docker Engine or Docker Desktop")
    assert clone.files() == before


@pytest.mark.parametrize("python", old_pythons(), ids=lambda path: path.parts[-3] if path else "pretended")
def test_make_dev_with_an_old_python_fails_and_changes_nothing(
    clone: Clone, tmp_path: Path, python: Path | None
) -> None:
    before = clone.files()

    refused = clone.run("make", "dev", f"PYTHON={python or pretended_python(tmp_path)}").failed()

    first, remedy = one_message(refused)
    assert first.startswith("Python 3.11 or newer is required; '")
    assert remedy == "Install it and select it: make PYTHON=python3.12 …"
    assert clone.files() == before


def test_make_dev_with_an_unreachable_installer_fails_and_changes_nothing(clone: Clone, tmp_path: Path) -> None:
    before = clone.files()
    offline = {
        "PATH": str(directory_with(tmp_path / "bin", "docker")),
        **dict.fromkeys(("https_proxy", "HTTPS_PROXY", "http_proxy", "HTTP_PROXY"), UNREACHABLE_URL),
        "no_proxy": "",
        "NO_PROXY": "",
    }

    refused = clone.run(make(), "dev", f"PYTHON={sys.executable}", environment=offline).failed()

    lines = one_message(refused)
    assert lines[0] == f"Pulumi {PULUMI_VERSION} is not installed and its installer is unreachable:"
    assert lines[-1] == (
        "Without it, these still work: make test, make render STACK=dev, then docker compose up --wait."
    )
    assert clone.files() == before


def test_an_existing_login_is_used(prepared: Clone) -> None:
    login = prepared.pulumi_home / "credentials.json"
    address = "https://pulumi.example.com"
    login.write_text(json.dumps({"current": address, "accessTokens": {address: "somebody's"}}))
    before = login.read_bytes()

    prepared.run("make", "setup").succeeded()

    assert login.read_bytes() == before
    assert not (prepared.root / ".state").exists()


def test_a_backend_in_the_environment_is_used(prepared: Clone, tmp_path: Path) -> None:
    prepared.run("make", "setup", environment={"PULUMI_BACKEND_URL": f"file://{tmp_path}"}).succeeded()

    assert not (prepared.pulumi_home / "credentials.json").exists()
    assert not (prepared.root / ".state").exists()


@pytest.mark.parametrize("variable", ["PULUMI_CONFIG_PASSPHRASE", "PULUMI_CONFIG_PASSPHRASE_FILE"])
def test_an_existing_passphrase_is_used(prepared: Clone, tmp_path: Path, variable: str) -> None:
    (tmp_path / "passphrase").write_text("a person's own")
    own = {variable: str(tmp_path / "passphrase")}

    prepared.run("make", "setup", environment=own).succeeded()

    assert (prepared.root / ".state").is_dir()
    assert not (prepared.root / ".state" / "passphrase").exists()
    shown = prepared.activated("env", environment=own).succeeded().output.splitlines()
    assert [line for line in shown if line.startswith("PULUMI_CONFIG_PASSPHRASE")] == [f"{variable}={own[variable]}"]


def test_without_any_choice_the_clone_gets_its_own_state_and_passphrase(prepared: Clone) -> None:
    prepared.run("make", "setup").succeeded()

    passphrase = prepared.root / ".state" / "passphrase"
    assert stat.S_IMODE(passphrase.stat().st_mode) == 0o600
    made = passphrase.read_bytes()
    assert len(made) >= 32

    prepared.run("make", "setup").succeeded()
    assert passphrase.read_bytes() == made, "a second one would lock the state"
    shown = prepared.activated("env").succeeded().output
    assert f"PULUMI_CONFIG_PASSPHRASE_FILE={passphrase}\n" in shown
    assert f"PULUMI_BACKEND_URL=file://{prepared.root}/.state?metadata=skip\n" in shown
    assert not (prepared.pulumi_home / "credentials.json").exists(), "a login would apply to the user's other projects"


def test_a_second_clone_works_by_itself(prepared: Clone, tmp_path: Path) -> None:
    """Both clones belong to one user. The result is the same in a shell in which the first clone is activated."""
    prepared.run("make", "setup").succeeded()
    second = Clone(tmp_path / "second", sibling=prepared)
    shutil.copytree(prepared.root / ".venv", second.root / ".venv")
    shell = dict(
        line.split("=", 1) for line in prepared.activated("env | grep ^PULUMI_").succeeded().output.splitlines()
    )

    second.run("make", "setup", environment=shell).succeeded()

    assert (second.root / ".state" / "passphrase").read_text() != (prepared.root / ".state" / "passphrase").read_text()
    second.activated("pulumi stack init dev", environment=shell).succeeded()
    assert "dev" in second.activated("pulumi stack ls", environment=shell).succeeded().output
    assert "dev" not in prepared.activated("pulumi stack ls").succeeded().output


def one_message(refused: Outcome) -> list[str]:
    """Return the lines of the message, without quoted output and without make's own last line."""
    assert "Traceback" not in refused.output
    lines = [line for line in refused.output.splitlines() if line]
    assert lines[-1].startswith("make: *** ")
    return [line for line in lines[:-1] if not line.startswith("  ")]


def make() -> str:
    """Return the path of make, for a PATH without it."""
    found = shutil.which("make")
    assert found
    return found
