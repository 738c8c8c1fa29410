"""Setting up a machine: existing choices are kept, and missing prerequisites are reported."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from operations import bootstrap, project
from operations.project import OperationError


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user account without a Pulumi login, a passphrase or Pulumi itself."""
    monkeypatch.setenv("PULUMI_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    for variable in ("PULUMI_BACKEND_URL", "PULUMI_ACCESS_TOKEN", *project.PASSPHRASE_VARIABLES):
        monkeypatch.delenv(variable, raising=False)
    state = tmp_path / "checkout" / ".state"
    for module in (bootstrap, project):
        monkeypatch.setattr(module, "STATE", state)
        monkeypatch.setattr(module, "PASSPHRASE", state / "passphrase")
        monkeypatch.setattr(module, "TOOLS", tmp_path / "tools")
        monkeypatch.setattr(module, "VENV", tmp_path / "venv")
    state.parent.mkdir()
    return tmp_path


def log_in(home: Path, backend: str) -> None:
    (home / "credentials.json").write_text(json.dumps({"current": backend}))


def test_without_a_choice_the_state_is_local_and_only_the_owner_can_read_the_passphrase(home: Path) -> None:
    bootstrap.select_state_backend()
    assert project.PASSPHRASE.stat().st_mode & 0o777 == 0o600
    assert len(project.PASSPHRASE.read_text()) >= 32
    assert project.environment({})["PULUMI_BACKEND_URL"] == f"file://{project.STATE}?metadata=skip"
    assert project.environment({})["PULUMI_CONFIG_PASSPHRASE_FILE"] == str(project.PASSPHRASE)


def test_nothing_outside_the_checkout_is_changed(home: Path) -> None:
    bootstrap.select_state_backend()
    assert {path.name for path in home.iterdir()} == {"checkout"}


def test_an_existing_passphrase_is_never_replaced(home: Path) -> None:
    project.STATE.mkdir()
    project.PASSPHRASE.write_text("mine")
    bootstrap.select_state_backend()
    assert project.PASSPHRASE.read_text() == "mine"


@pytest.mark.parametrize("variable", ["PULUMI_CONFIG_PASSPHRASE", "PULUMI_CONFIG_PASSPHRASE_FILE"])
def test_a_chosen_passphrase_is_used(home: Path, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "theirs")
    bootstrap.select_state_backend()
    assert not project.PASSPHRASE.exists()
    assert project.environment()[variable] == "theirs"


def test_an_existing_login_is_used(home: Path) -> None:
    log_in(home, "https://api.pulumi.com")
    bootstrap.select_state_backend()
    assert not project.STATE.exists()
    assert "PULUMI_BACKEND_URL" not in project.environment({})


def test_a_chosen_state_backend_is_used(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PULUMI_BACKEND_URL", "s3://somewhere")
    bootstrap.select_state_backend()
    assert not project.STATE.exists()
    assert project.environment()["PULUMI_BACKEND_URL"] == "s3://somewhere"


def test_a_local_state_stays_in_use_after_a_login(home: Path) -> None:
    bootstrap.select_state_backend()
    log_in(home, "https://api.pulumi.com")
    assert project.environment({})["PULUMI_BACKEND_URL"] == f"file://{project.STATE}?metadata=skip"


@pytest.mark.parametrize("exists", [True, False])
def test_a_login_to_the_state_of_another_checkout_does_not_count_as_a_choice(home: Path, exists: bool) -> None:
    other = home / "other" / ".state"
    if exists:
        other.mkdir(parents=True)
    log_in(home, f"file://{other}?metadata=skip")
    bootstrap.select_state_backend()
    assert project.PASSPHRASE.exists()


def test_a_shell_in_which_another_checkout_is_activated_uses_this_checkouts_state(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PULUMI_BACKEND_URL", f"file://{home}/other/.state?metadata=skip")
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE_FILE", f"{home}/other/.state/passphrase")
    bootstrap.select_state_backend()
    assert project.environment()["PULUMI_BACKEND_URL"] == f"file://{project.STATE}?metadata=skip"
    assert project.environment()["PULUMI_CONFIG_PASSPHRASE_FILE"] == str(project.PASSPHRASE)


def test_a_pipelines_access_token_is_a_login(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PULUMI_ACCESS_TOKEN", "pul-0")
    bootstrap.select_state_backend()
    assert not project.STATE.exists()


def test_a_login_to_a_persons_folder_is_used_even_if_the_folder_is_missing(home: Path) -> None:
    log_in(home, f"file://{home}/unmounted")
    bootstrap.select_state_backend()
    assert not project.STATE.exists()


def test_an_old_python_is_reported_with_the_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 10, 4, "final", 0))
    with pytest.raises(OperationError, match=r"(?s)Python 3\.11 or newer is required.*3\.10\.4.*make PYTHON="):
        bootstrap.check_python()


def test_an_unreachable_installer_is_reported_with_what_works_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "INSTALLER_URL", "http://127.0.0.1:9")
    with pytest.raises(OperationError, match=r"(?s)127\.0\.0\.1:9.*make render STACK=dev"):
        bootstrap.check_installer()


def test_a_missing_docker_command_is_reported_with_the_fix(home: Path) -> None:
    with pytest.raises(OperationError, match="'docker' command is missing"):
        bootstrap.check_engine()


@pytest.fixture
def installed(home: Path) -> Callable[[], list[str]]:
    """A virtual environment with a stand-in for pip; returns the requirement files that were installed."""
    python = home / "venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    version = "python{}.{}".format(*sys.version_info)
    (home / "venv" / "lib" / version).mkdir(parents=True)
    version_check = f'[ "$1" = -ISc ] && echo {version} && exit'
    python.write_text(f'#!/bin/sh\n{version_check}\nfor last; do :; done\necho "${{last##*/}}" >> {home}/installed\n')
    python.chmod(0o755)
    (home / "installed").touch()
    return lambda: (home / "installed").read_text().split()


@pytest.mark.parametrize(
    ("runs", "expected"),
    [
        ([False, False], ["requirements.txt"]),
        ([False, True], ["requirements.txt", "requirements-dev.txt"]),
        ([True, False, True], ["requirements-dev.txt"]),
    ],
)
def test_installed_requirements_are_not_installed_again(
    installed: Callable[[], list[str]], runs: list[bool], expected: list[str]
) -> None:
    for development in runs:
        bootstrap.install_requirements(development=development)
    assert installed() == expected


def test_development_requirements_include_the_others() -> None:
    assert "-r requirements.txt" in (project.ROOT / "requirements-dev.in").read_text().splitlines()


def test_the_plugins_have_the_versions_of_the_requirements() -> None:
    pinned = (project.ROOT / "requirements.txt").read_text()
    assert [name for name, version in bootstrap._required_plugins() if f"pulumi-{name}=={version}" not in pinned] == []
    assert {name for name, _ in bootstrap._required_plugins()} == {"docker", "kubernetes", "random", "tls"}


def test_pulumis_sdk_has_the_version_of_its_command_or_the_next_one() -> None:
    pinned = re.search(r"^pulumi==([\d.]+)", (project.ROOT / "requirements.txt").read_text(), re.MULTILINE)
    assert pinned
    command, sdk = ([int(part) for part in version.split(".")] for version in (bootstrap.PULUMI_VERSION, pinned[1]))
    assert sdk[0] == command[0]
    assert sdk[1] - command[1] in {0, 1}


@pytest.fixture
def venv(home: Path) -> Path:
    """A virtual environment for the running Python, with the requirements and an unrelated file."""
    folder = home / "venv"
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").symlink_to(sys.executable)
    (folder / "lib" / "python{}.{}".format(*sys.version_info)).mkdir(parents=True)
    for requirements in (bootstrap.REQUIREMENTS_FILE, bootstrap.DEVELOPMENT_REQUIREMENTS_FILE):
        bootstrap._stamp_file(requirements).write_text(bootstrap._digest(requirements))
    return folder


def test_a_working_environment_is_kept(venv: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "_run", lambda command: pytest.fail(f"{command}"))
    bootstrap.install_requirements(development=False)
    assert bootstrap._stamp_file(bootstrap.REQUIREMENTS_FILE).exists()


@pytest.mark.parametrize("cause", ["removed", "upgraded"])
def test_an_environment_whose_python_is_gone_is_built_again(
    venv: Path, cause: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if cause == "removed":
        (venv / "bin" / "python").unlink()
        (venv / "bin" / "python").symlink_to(venv / "no-such-python")
    else:
        next((venv / "lib").iterdir()).rename(venv / "lib" / "python3.2")
    (venv / "former").touch()
    commands: list[list[str]] = []

    def run(command: list[str]) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        if "venv" in command:
            (venv / "bin").mkdir(parents=True)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(bootstrap, "_run", run)
    bootstrap.install_requirements(development=False)
    assert "building .venv again: its Python was removed or upgraded" in capsys.readouterr().out
    assert not (venv / "former").exists()
    assert commands[0] == [sys.executable, "-m", "venv", str(venv)]
    assert commands[1][-1] == str(bootstrap.REQUIREMENTS_FILE)
