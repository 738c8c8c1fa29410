"""The operator's commands for backups: which script each runs, and what it asks before a restore."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from operations import __main__ as command_line
from operations import backups
from tests.unit.mistakes import parsed

NAME = "20261129T023000Z"


class RecordingRuntime:
    """A runtime whose tasks return prepared exit codes."""

    def __init__(self) -> None:
        self.commands: list[Sequence[str] | None] = []
        self.statuses: list[int] = []
        self.task = "backup"

    def run_task(self, stack: str, workload: str, command: Sequence[str] | None) -> int:
        """Record a run and return its exit code: 0, unless one is prepared."""
        assert (stack, workload) == ("dev", self.task)
        self.commands.append(command)
        return self.statuses.pop(0) if self.statuses else 0


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> RecordingRuntime:
    """The runtime of the stack dev, which has backups. Nothing can be typed."""
    recorded = RecordingRuntime()
    monkeypatch.setattr(backups, "runtime_of", lambda stack: recorded)
    monkeypatch.setattr(backups, "read_configuration", lambda stack: (parsed({"backups": {"enabled": True}}), {}))
    return recorded


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str, typed: str | None = None) -> int:
    """Run the command line, and return its exit code."""

    def answer(prompt: str) -> str:
        if typed is None:
            raise EOFError
        return typed

    monkeypatch.setattr("builtins.input", answer)
    monkeypatch.setattr("sys.argv", ["operations", *arguments])
    return command_line.main()


def script(name: str, *arguments: str) -> list[str]:
    """Return the command in the container."""
    return ["sh", f"/assets/{name}", *arguments]


class TestCommands:
    @pytest.mark.parametrize(
        ("arguments", "command"),
        [
            (["backup"], None),
            (["backups", "list"], script("backups.sh", "list")),
            (["backups", "list", "--json"], script("backups.sh", "list", "--json")),
            (["backups", "verify"], script("backups.sh", "verify")),
            (["backups", "verify", NAME], script("backups.sh", "verify", NAME)),
            (
                ["restore", "--all", "--from", NAME, "--yes"],
                script("restore.sh", "--all", "--from", NAME, "--confirm", NAME),
            ),
            (["restore", "--all", "--rehearse"], script("restore.sh", "--all", "--rehearse")),
            (["restore", "--drop-replaced", "--yes"], script("restore.sh", "--drop-replaced")),
        ],
    )
    def test_a_command_runs_its_script_and_returns_its_exit_code(
        self,
        runtime: RecordingRuntime,
        monkeypatch: pytest.MonkeyPatch,
        arguments: list[str],
        command: list[str] | None,
    ) -> None:
        runtime.statuses = [3]
        assert run(monkeypatch, *arguments) == 3
        assert runtime.commands == [command]

    def test_a_restore_first_prints_what_it_replaces(
        self, runtime: RecordingRuntime, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert run(monkeypatch, "restore", "--database", "pti_user", typed=NAME) == 0
        assert runtime.commands == [
            script("restore.sh", "--database", "pti_user"),
            # Without --from: the script restores the newest backup only if its name was typed.
            script("restore.sh", "--database", "pti_user", "--confirm", NAME),
        ]

    @pytest.mark.parametrize("typed", [None, "", "yes", "20261130T023000Z"])
    def test_without_the_name_nothing_is_restored(
        self, runtime: RecordingRuntime, monkeypatch: pytest.MonkeyPatch, typed: str | None
    ) -> None:
        assert run(monkeypatch, "restore", "--all", "--from", NAME, typed=typed) == 1
        assert runtime.commands == [script("restore.sh", "--all", "--from", NAME)]

    def test_a_refused_plan_is_not_restored(self, runtime: RecordingRuntime, monkeypatch: pytest.MonkeyPatch) -> None:
        runtime.statuses = [1]
        assert run(monkeypatch, "restore", "--all", typed=NAME) == 1
        assert runtime.commands == [script("restore.sh", "--all")]

    def test_yes_requires_the_name(
        self, runtime: RecordingRuntime, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run(monkeypatch, "restore", "--all", "--yes") == 1
        assert "--yes requires --from" in capsys.readouterr().err
        assert runtime.commands == []

    def test_replaced_databases_are_dropped_after_the_stack_s_name(
        self, runtime: RecordingRuntime, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert run(monkeypatch, "restore", "--drop-replaced", typed="prod") == 1
        assert runtime.commands == []
        assert run(monkeypatch, "restore", "--drop-replaced", typed="dev") == 0
        assert runtime.commands == [script("restore.sh", "--drop-replaced")]

    @pytest.mark.parametrize("arguments", [["backup"], ["backups", "list"], ["restore", "--all"]])
    def test_a_stack_without_backups_is_refused(
        self,
        runtime: RecordingRuntime,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        arguments: list[str],
    ) -> None:
        monkeypatch.setattr(backups, "read_configuration", lambda stack: (parsed({}), {}))
        assert run(monkeypatch, *arguments, typed=NAME) == 1
        assert "pti-calendar:backups.enabled true" in capsys.readouterr().err
        assert runtime.commands == []

    def test_a_drill_requires_its_task(
        self,
        runtime: RecordingRuntime,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        assert run(monkeypatch, "backups", "drill") == 1
        assert "pti-calendar:backups.drill.enabled true" in capsys.readouterr().err
        runtime.task = "restore-drill"
        enabled = parsed({"backups": {"enabled": True, "drill": {"enabled": True}}})
        monkeypatch.setattr(backups, "read_configuration", lambda stack: (enabled, {}))
        runtime.statuses = [3]
        assert run(monkeypatch, "backups", "drill") == 3
        assert runtime.commands == [None]


TENANT = "11111111-1111-4111-8111-111111111111"


class TestTenant:
    PLAN = script("restore_tenant.sh", TENANT, "--from", NAME)

    def test_a_tenant_s_rows_are_replaced_after_its_id(
        self, runtime: RecordingRuntime, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert run(monkeypatch, "tenants", "restore", TENANT, "--from", NAME, typed=TENANT) == 0
        assert runtime.commands == [self.PLAN, [*self.PLAN, "--confirm", TENANT]]

    @pytest.mark.parametrize("typed", [None, "", "yes", NAME])
    def test_without_its_id_the_copies_are_dropped(
        self, runtime: RecordingRuntime, monkeypatch: pytest.MonkeyPatch, typed: str | None
    ) -> None:
        assert run(monkeypatch, "tenants", "restore", TENANT, "--from", NAME, typed=typed) == 1
        assert runtime.commands == [self.PLAN, [*self.PLAN, "--discard"]]

    def test_a_refused_plan_asks_nothing(self, runtime: RecordingRuntime, monkeypatch: pytest.MonkeyPatch) -> None:
        runtime.statuses = [1]
        chosen = ("--from", NAME, "--database", "pti_rdv")
        assert run(monkeypatch, "tenants", "restore", TENANT, *chosen, typed=TENANT) == 1
        assert runtime.commands == [[*self.PLAN, "--database", "pti_rdv"]]
