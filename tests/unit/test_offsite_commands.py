"""The operator's commands for off-site copies: what each runs, and what it refuses."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from operations import __main__ as command_line
from operations import backups, destroy, offsite, stack, wipe
from tests.unit.mistakes import parsed

NAME = "20261129T023000Z"


class RecordingRuntime:
    """A runtime whose tasks return prepared exit codes."""

    def __init__(self) -> None:
        self.runs: list[tuple[str, Sequence[str] | None]] = []
        self.statuses: list[int] = []

    def run_task(self, stack: str, workload: str, command: Sequence[str] | None) -> int:
        """Record a run and return its exit code: 0, unless one is prepared."""
        assert stack == "dev"
        self.runs.append((workload, command))
        return self.statuses.pop(0) if self.statuses else 0


def configure(monkeypatch: pytest.MonkeyPatch, section: Mapping[str, Any]) -> RecordingRuntime:
    """Replace the configuration and the runtime of the stack."""
    recorded = RecordingRuntime()
    for module in (backups, offsite):
        monkeypatch.setattr(module, "runtime_of", lambda stack: recorded)
        monkeypatch.setattr(
            module, "read_configuration", lambda stack: (parsed({"backups": {"enabled": True, "offsite": section}}), {})
        )
    return recorded


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Run the command line, and return its exit code."""
    monkeypatch.setattr("sys.argv", ["operations", *arguments])
    return command_line.main()


ENABLED = {"enabled": True, "repository": "volume"}
WRITABLE = {**ENABLED, "allowFetch": True}


def script(*arguments: str) -> tuple[str, Sequence[str]]:
    """Return the workload and its command."""
    return "offsite", ["sh", "/assets/offsite.sh", *arguments]


class TestCommands:
    @pytest.mark.parametrize(
        ("arguments", "runs"),
        [
            (["offsite"], [("offsite", None)]),
            (["backups", "list", "--offsite"], [script("list")]),
            (["backups", "list", "--offsite", "--json"], [script("list", "--json")]),
            (["backups", "fetch", NAME], [script("fetch", NAME)]),
            (
                ["restore", "--all", "--from-offsite", NAME, "--yes"],
                [
                    script("fetch", NAME),
                    ("backup", ["sh", "/assets/restore.sh", "--all", "--from", NAME, "--confirm", NAME]),
                ],
            ),
            (
                ["restore", "--database", "pti_rdv", "--from-offsite", NAME, "--rehearse"],
                [
                    script("fetch", NAME),
                    ("backup", ["sh", "/assets/restore.sh", "--database", "pti_rdv", "--from", NAME, "--rehearse"]),
                ],
            ),
        ],
        ids=["copy", "list", "list as JSON", "fetch", "fetch and restore", "fetch and rehearse"],
    )
    def test_a_command_runs_in_a_container_of_the_stack(
        self, monkeypatch: pytest.MonkeyPatch, arguments: list[str], runs: list[Any]
    ) -> None:
        runtime = configure(monkeypatch, WRITABLE)
        assert run(monkeypatch, *arguments) == 0
        assert runtime.runs == runs

    def test_a_copy_that_is_not_fetched_is_not_restored(self, monkeypatch: pytest.MonkeyPatch) -> None:
        runtime = configure(monkeypatch, WRITABLE)
        runtime.statuses = [1]
        assert run(monkeypatch, "restore", "--all", "--from-offsite", NAME, "--yes") == 1
        assert runtime.runs == [script("fetch", NAME)]

    @pytest.mark.parametrize(
        ("section", "arguments", "problem"),
        [
            ({}, ["offsite"], "has no off-site copies"),
            ({}, ["backups", "list", "--offsite"], "has no off-site copies"),
            ({}, ["backups", "fetch", NAME], "has no off-site copies"),
            (ENABLED, ["backups", "fetch", NAME], "backups.offsite.allowFetch true"),
            (ENABLED, ["restore", "--all", "--from-offsite", NAME], "backups.offsite.allowFetch true"),
            (WRITABLE, ["backups", "fetch"], "Name the backup"),
            (WRITABLE, ["backups", "verify", "--offsite"], "--offsite belongs to"),
            (WRITABLE, ["restore", "--all", "--from", NAME, "--from-offsite", NAME], "excludes --from"),
            (WRITABLE, ["restore", "--drop-replaced", "--from-offsite", NAME], "excludes --from"),
        ],
    )
    def test_a_command_without_its_conditions_runs_nothing(
        self,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        section: Mapping[str, Any],
        arguments: list[str],
        problem: str,
    ) -> None:
        runtime = configure(monkeypatch, section)
        assert run(monkeypatch, *arguments) == 1
        assert problem in capsys.readouterr().err
        assert runtime.runs == []


class EmptyRuntime:
    """A runtime without obstacles to a destroy, and without data."""

    def why_elsewhere(self, *_: object) -> None:
        """Return None: it is here."""

    def destroy_obstacles(self, *_: object) -> list[str]:
        """Return no obstacle."""
        return []

    def location(self, _: str) -> str:
        """Return some place."""
        return "here"

    def retained_data(self, _: str) -> list[Any]:
        """Return no data."""
        return []

    def deletion_plan(self, *_: object) -> list[str]:
        """Return nothing to delete."""
        return []

    def delete_data(self, *_: object) -> None:
        """Delete nothing."""


class TestPassword:
    """The password must be readable while the state exists: without it, the copies are unreadable."""

    @staticmethod
    def pulumi(monkeypatch: pytest.MonkeyPatch, configured: str | None, resources: list[Any]) -> None:
        """Replace the pulumi command by one with this configuration and state."""

        def answer(command: Sequence[str], **_: Any) -> subprocess.CompletedProcess[str]:
            if command[1] == "config":
                return subprocess.CompletedProcess(command, 0 if configured else 1, f"{configured}\n", "not found")
            assert command[1:4] == ["stack", "export", "--show-secrets"]
            return subprocess.CompletedProcess(command, 0, json.dumps({"deployment": {"resources": resources}}), "")

        monkeypatch.setattr(subprocess, "run", answer)

    def generated(self, value: str) -> dict[str, Any]:
        """Return the resource of a generated password, as `pulumi stack export --show-secrets` prints it."""
        urn = "urn:pulumi:dev::pti-calendar::a$random:index/randomPassword:RandomPassword::offsitePassword"
        secret = {
            "4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270",
            "plaintext": json.dumps(value),
        }
        return {"urn": urn, "outputs": {"result": secret}}

    def test_the_generated_password_is_the_only_output(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        other = {**self.generated("another"), "urn": "urn:pulumi:dev::x::y::postgresPassword"}
        self.pulumi(monkeypatch, None, [other, self.generated('a"b')])
        assert run(monkeypatch, "offsite", "password") == 0
        assert capsys.readouterr().out == 'a"b\n'

    def test_a_configured_password_takes_precedence(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.pulumi(monkeypatch, "mine", [self.generated("generated")])
        assert run(monkeypatch, "offsite", "password") == 0
        assert capsys.readouterr().out == "mine\n"

    def test_a_stack_without_one_is_an_error(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.pulumi(monkeypatch, None, [])
        assert run(monkeypatch, "offsite", "password") == 1
        assert capsys.readouterr().out == ""

    @pytest.mark.parametrize("command", ["destroy", "wipe"])
    @pytest.mark.parametrize("configured", [None, "mine"])
    def test_a_destroy_keeps_the_generated_password_in_the_configuration(
        self, monkeypatch: pytest.MonkeyPatch, command: str, configured: str | None
    ) -> None:
        state = {"resources": [self.generated("generated")]}
        done: list[Any] = []

        def answer(arguments: Sequence[str], **options: Any) -> subprocess.CompletedProcess[str]:
            if list(arguments[1:3]) == ["config", "set"]:
                done.append((arguments[3:5], options["input"]))
            found = configured if list(arguments[1:3]) == ["config", "get"] else json.dumps({"deployment": state})
            return subprocess.CompletedProcess(arguments, 0 if found else 1, f"{found}\n", "")

        monkeypatch.setattr(subprocess, "run", answer)
        monkeypatch.setattr(stack, "recorded_state", lambda _: state)
        monkeypatch.setattr(stack, "destroy", lambda _: done.append("destroy"))
        for module in (destroy, wipe):
            monkeypatch.setattr(module, "runtime_of", lambda _: EmptyRuntime())
            monkeypatch.setattr(module, "require_typed_name", lambda _: None)
        monkeypatch.setattr(wipe, "read_configuration", lambda _: (parsed({}), {}))
        assert run(monkeypatch, command, "--stack", "dev") == 0
        kept = [] if configured else [(["--secret", "pti-calendar:offsitePassword"], "generated")]
        assert done == [*kept, "destroy"]
