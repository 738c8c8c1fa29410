"""`make wipe` offers a last backup, and stops if it fails; the volumes of backups stay unless asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from operations import __main__ as command_line
from operations import backups, destroy, stack, wipe
from operations.runtimes import RetainedData
from tests.unit.mistakes import parsed

BACKUPS = RetainedData("pti-backup-data-dev", "backup")
COPIES = RetainedData("pti-offsite-repository-dev", "offsite")
CHANGES = RetainedData("pti-archive-data-dev", "archive")
ROWS = RetainedData("pti-postgres-data-dev", "postgres")


@dataclass
class Recorded:
    """A runtime with two volumes, a stack that is up, and what was done to them, in order."""

    done: list[str] = field(default_factory=list)
    resources: list[dict[str, Any]] = field(default_factory=lambda: [{"type": "x"}])
    answers: list[str] = field(default_factory=list)
    backup_code: int = 0
    volumes: list[RetainedData] = field(default_factory=lambda: [BACKUPS, ROWS])

    def why_elsewhere(self, *_: object) -> None:
        """Return None: it is here."""

    def destroy_obstacles(self, *_: object) -> list[str]:
        """Return no obstacle."""
        return []

    def location(self, _: str) -> str:
        """Return some place."""
        return "here"

    def retained_data(self, _: str) -> list[RetainedData]:
        """Return the volumes."""
        return self.volumes

    def deletion_plan(self, _: str, kept: Sequence[RetainedData]) -> list[str]:
        """Return the names of the others."""
        return [one.name for one in self.volumes if one not in kept]

    def delete_data(self, name: str, kept: Sequence[RetainedData]) -> None:
        """Record what is deleted."""
        self.done.append(f"delete {self.deletion_plan(name, kept)}")

    def destroy(self, _: str) -> int:
        """Record the destroy."""
        self.done.append("destroy")
        return 0

    def backup(self, _: str) -> int:
        """Record the backup."""
        self.done.append("backup")
        return self.backup_code

    def answer(self, _: str) -> str:
        """Return the next thing that is typed."""
        if not self.answers:
            raise EOFError
        return self.answers.pop(0)


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Recorded:
    """The stack dev, which has backups."""
    made = Recorded()
    for module in (wipe, destroy):
        monkeypatch.setattr(module, "runtime_of", lambda _: made)
    monkeypatch.setattr(wipe, "read_configuration", lambda _: (parsed({"backups": {"enabled": True}}), {}))
    monkeypatch.setattr(stack, "recorded_state", lambda _: {"resources": made.resources})
    monkeypatch.setattr(stack, "destroy", made.destroy)
    monkeypatch.setattr(backups, "backup", made.backup)
    monkeypatch.setattr("builtins.input", made.answer)
    return made


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["operations", "wipe", *arguments])
    return command_line.main()


@pytest.mark.parametrize("answer", ["", "y", "YES"])
def test_a_last_backup_is_the_default(recorded: Recorded, monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    recorded.answers = [answer, "dev"]
    assert run(monkeypatch) == 0
    assert recorded.done == ["backup", "destroy", f"delete {[ROWS.name]}"]


def test_a_failed_last_backup_stops_the_wipe(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recorded.answers, recorded.backup_code = ["", "dev"], 3
    assert run(monkeypatch) == 1
    assert recorded.done == ["backup"]
    assert "Nothing has been destroyed or deleted" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "answers"), [([], ["n", "dev"]), (["--no-last-backup"], ["dev"]), (["--delete-backups"], ["dev"])]
)
def test_a_last_backup_can_be_declined(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch, arguments: list[str], answers: list[str]
) -> None:
    recorded.answers = answers
    assert run(monkeypatch, *arguments) == 0
    assert "backup" not in recorded.done


@pytest.mark.parametrize("answers", [[], ["dev"], [""], ["", "prod"], ["n"], ["n", "yes"]])
def test_nothing_is_done_unless_the_name_is_typed(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch, answers: list[str]
) -> None:
    recorded.answers = answers
    assert run(monkeypatch) == 1
    assert recorded.done == []


def test_a_stack_that_is_not_up_has_no_last_backup(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recorded.resources, recorded.answers = [], ["dev"]
    assert run(monkeypatch) == 0
    assert recorded.done[-1] == f"delete {[ROWS.name]}"
    assert "no last backup is taken. For one, bring it up first: make up STACK=dev" in capsys.readouterr().out


def test_the_text_says_what_stays_and_how_to_delete_it(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recorded.answers = ["n", "dev"]
    assert run(monkeypatch) == 0
    output = capsys.readouterr().out
    assert f"The backups stay, with every tenant's rows: {BACKUPS.name}" in output
    assert "python -m operations wipe --stack dev --delete-backups" in output


def test_every_volume_with_backups_stays(recorded: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded.volumes = [BACKUPS, COPIES, CHANGES, ROWS]
    recorded.answers = ["n", "dev"]
    assert run(monkeypatch) == 0
    assert recorded.done == ["destroy", f"delete {[ROWS.name]}"]


def test_backups_are_deleted_by_an_explicit_argument_only(recorded: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded.answers = ["dev"]
    assert run(monkeypatch, "--delete-backups") == 0
    assert recorded.done == ["destroy", f"delete {[BACKUPS.name, ROWS.name]}"]
