"""The operator's command for an upgrade of PostgreSQL: its steps, and that each can be repeated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from operations import __main__ as command_line
from operations import backups, upgrades
from operations import stack as pulumi_stack
from operations.doctor.finding import CommandFailed, Instance
from settings import Settings
from tests.unit.mistakes import parsed

IMAGE = "postgres:18.6"


class Stack:
    """A stack whose server reports prepared states, and what happened to it, in order."""

    def __init__(self, **postgres: Any) -> None:
        self.configuration: dict[str, Any] = {"postgres": {"image": "postgres:17.11", **postgres}}
        self.statuses = ["idle", "requested 18: dump begins", "dumped 18"]
        self.events: list[str] = []
        self.update_code = 0
        self.backup_code = 0

    def instances(self, stack: str) -> list[Instance]:
        """Implement the runtime's method."""
        return [Instance("redis", "pti-redis-dev"), Instance("postgres", "pti-postgres-dev")]

    def execute(self, stack: str, instance: Instance, command: Sequence[str]) -> str:
        """Implement the runtime's method."""
        assert (instance.workload, command[:2]) == ("postgres", ("sh", "/assets/upgrade.sh"))
        if command[2] == "status":
            if self.statuses[0] == "unreachable":
                self.statuses.pop(0)
                raise CommandFailed("the container restarts")
            return self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        self.events.append(" ".join(command[2:]))
        return {"old": "17\n", "cancel": "idle\n"}.get(command[2], "")

    def read(self, stack: str, changes: Mapping[str, Mapping[str, Any]] | None = None) -> tuple[Settings, set[str]]:
        """Return the configuration with changes."""
        changed = {**self.configuration}
        for section, values in (changes or {}).items():
            changed[section] = {**changed.get(section, {}), **values}
        return parsed(changed, [key for key in changed if key == "postgresPassword"]), set()

    def set_configuration(self, stack: str, values: Mapping[str, str]) -> None:
        """Record the keys."""
        self.events.append(", ".join(f"{key}={value}" for key, value in values.items()))

    def up(self, stack: str) -> int:
        """Record the update."""
        self.events.append("up")
        return self.update_code

    def backup(self, stack: str) -> int:
        """Record the backup."""
        self.events.append("backup")
        return self.backup_code


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch) -> Stack:
    """A stack with PostgreSQL 17. Nothing can be typed."""
    made = Stack()
    monkeypatch.setattr(upgrades, "runtime_of", lambda name: made)
    monkeypatch.setattr(upgrades, "read_configuration", made.read)
    monkeypatch.setattr(pulumi_stack, "set_configuration", made.set_configuration)
    monkeypatch.setattr(pulumi_stack, "up", made.up)
    monkeypatch.setattr(backups, "backup", made.backup)
    monkeypatch.setattr(upgrades, "POLL_S", 0)
    return made


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str, typed: str = "") -> int:
    """Run the command line, and return its exit code."""
    monkeypatch.setattr("builtins.input", lambda prompt: typed)
    monkeypatch.setattr("sys.argv", ["operations", "upgrade", "postgres", *arguments])
    return command_line.main()


CHANGE = f"postgres.image={IMAGE}, postgres.previousMajor=17"


def test_the_data_is_dumped_before_the_image_changes(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, "--image", IMAGE, typed="dev") == 0
    assert stack.events == ["request 18", CHANGE, "up"]


def test_a_backup_is_taken_first_if_the_stack_has_backups(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    stack.configuration["backups"] = {"enabled": True}
    assert run(monkeypatch, "--image", IMAGE, "--yes") == 0
    assert stack.events == ["backup", "request 18", CHANGE, "up"]

    stack.events.clear()
    stack.backup_code, stack.statuses = 1, ["idle"]
    assert run(monkeypatch, "--image", IMAGE, "--yes") == 1
    assert stack.events == ["backup"]


@pytest.mark.parametrize("typed", ["", "prod"])
def test_nothing_happens_without_confirmation(stack: Stack, monkeypatch: pytest.MonkeyPatch, typed: str) -> None:
    assert run(monkeypatch, "--image", IMAGE, typed=typed) == 1
    assert stack.events == []


@pytest.mark.parametrize("statuses", [["requested 18: dump begins", "unreachable", "dumped 18"], ["dumped 18"]])
def test_an_interrupted_command_continues(stack: Stack, monkeypatch: pytest.MonkeyPatch, statuses: list[str]) -> None:
    stack.statuses = statuses
    assert run(monkeypatch, "--image", IMAGE) == 0
    assert stack.events == [CHANGE, "up"]


def test_after_a_failed_update_only_the_update_is_repeated(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stack.configuration["postgres"] = {"image": IMAGE, "previousMajor": 17}
    stack.update_code = 255
    assert run(monkeypatch, "--image", IMAGE) == 255
    assert stack.events == ["up"]
    assert "docs/store-upgrades.md#the-way-back" in capsys.readouterr().err


def test_a_failed_dump_changes_nothing(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stack.statuses = ["failed: an earlier one", "requested 18", "failed: No space left on device"]
    assert run(monkeypatch, "--image", IMAGE, "--yes") == 1
    assert stack.events == ["request 18"]
    assert "No space left on device" in capsys.readouterr().err


def test_an_image_of_the_same_major_version_is_refused(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "--image", "postgres:17.12", "--yes") == 1
    assert "opens the data itself" in capsys.readouterr().err
    assert stack.events == []


def test_an_older_image_is_refused(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stack.configuration["postgres"] = {"image": "postgres:18.6"}
    assert run(monkeypatch, "--image", "postgres:17.11", "--yes") == 1
    assert "The way back" in capsys.readouterr().err


def test_another_upgrade_in_progress_is_refused(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stack.statuses = ["dumped 19"]
    assert run(monkeypatch, "--image", IMAGE, "--yes") == 1
    assert "PostgreSQL 19 is in progress" in capsys.readouterr().err


def test_other_modes_are_refused(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stack.configuration["postgresPassword"] = "secret"
    stack.configuration["postgres"] = {"mode": "external", "external": {"host": "db.example.com"}}
    assert run(monkeypatch, "--image", IMAGE, "--yes") == 1
    assert "the mode 'external'" in capsys.readouterr().err


def test_old_data_is_deleted_after_a_confirmation_only(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, "--delete-old") == 1
    assert stack.events == ["old"]
    assert run(monkeypatch, "--delete-old", typed="dev") == 0
    assert stack.events == ["old", "old", "delete-old"]


def test_a_cancelled_upgrade_needs_no_confirmation(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, "--cancel") == 0
    assert stack.events == ["cancel"]
