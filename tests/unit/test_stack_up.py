"""The Pulumi commands of `make up`: on a new stack, on an unchanged one, and after manual changes."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from operations import containers, locks, stack
from operations.project import OperationError

REFUSED_EXIT_CODE = 255
CONTAINER = "docker:index/container:Container"
NETWORK = "docker:index/network:Network"
VOLUME = "docker:index/volume:Volume"


@dataclass
class StackScenario:
    """The state that `make up` finds, and the commands that it runs."""

    recorded: list[dict[str, Any]] = field(default_factory=list)
    unreachable: str | None = None
    has_drifted: bool = False
    unready_polls: list[list[str]] = field(default_factory=list)
    """Unready workloads per check; the last entry repeats."""

    preview: int = 0
    """Exit code of a preview."""

    events: list[dict[str, Any]] = field(default_factory=list)
    """Log of a preview."""

    salt: str | None = None
    """Encryption salt of the state's secrets."""

    pending: list[str] = field(default_factory=list)
    """Resources whose creation was interrupted."""

    failing: str = ""
    """The command that fails."""

    commands: list[list[str]] = field(default_factory=list)

    def unreachable_reason(self, name: str) -> str | None:
        """Implement the backend's method."""
        return self.unreachable

    def location(self, name: str) -> str:
        """Implement the backend's method."""
        return "on the engine of the test"

    def may_have_drifted(self, name: str, recorded: Sequence[Mapping[str, Any]]) -> bool:
        """Implement the backend's method."""
        return self.has_drifted

    def repair_manual_changes(self, name: str, recorded: Sequence[Mapping[str, Any]]) -> None:
        """Implement the backend's method."""
        self.commands.append(["repair"])

    def unready_workloads(self, name: str) -> list[str]:
        """Implement the backend's method."""
        polls = self.unready_polls
        return (polls.pop(0) if len(polls) > 1 else polls[0]) if polls else []

    def captured(self, arguments: list[str]) -> subprocess.CompletedProcess[str]:
        """Stand in for Pulumi's command."""
        self.commands.append(arguments)
        state = {
            "resources": self.recorded,
            "secrets_providers": {"type": "passphrase", "state": {"salt": self.salt}},
            "pending_operations": [{"type": "creating", "resource": {"urn": urn}} for urn in self.pending],
        }
        if arguments[0] == self.failing:
            return subprocess.CompletedProcess(arguments, 1, "", "the plugin has ended")
        return subprocess.CompletedProcess(arguments, 0, json.dumps({"deployment": state}), "")

    def attached(self, arguments: list[str], more: Mapping[str, str] | None = None) -> int:
        """Stand in for Pulumi's command."""
        self.commands.append(arguments)
        if arguments[0] != "preview":
            return 0
        log = Path(arguments[arguments.index("--event-log") + 1])
        log.write_text("\n".join(json.dumps(event) for event in self.events))
        return self.preview

    def updates(self) -> list[list[str]]:
        """Return the previews and updates, with the options that matter here."""
        return [
            [one[0], *(option for option in one if option in ("--refresh=false", "--skip-preview"))]
            for one in self.commands
            if one[0] in ("preview", "up")
        ]


@pytest.fixture
def scenario(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StackScenario:
    """A running stack whose preview finds no change."""
    found = StackScenario(
        recorded=[{"urn": "urn:redis", "type": CONTAINER, "id": "1"}], events=[step("same", CONTAINER)]
    )
    monkeypatch.setattr(locks, "STATE", tmp_path)
    monkeypatch.setattr(stack, "STATE", tmp_path)
    monkeypatch.setattr(stack, "ROOT", tmp_path)
    for name in ("dev", "prod"):
        (tmp_path / f"Pulumi.{name}.yaml").write_text("config: {}\n")
    monkeypatch.setattr(stack, "runtime_of", lambda name: found)
    monkeypatch.setattr(stack, "_run_captured", found.captured)
    monkeypatch.setattr(stack, "_run_attached", found.attached)
    return found


def step(operation: str, kind: str, old: object = None, new: object = None) -> dict[str, Any]:
    """Return an event of a preview."""
    metadata = {"op": operation, "type": kind, "old": {"outputs": old}, "new": {"outputs": new}}
    return {"resOutputsEvent": {"metadata": metadata}}


def test_a_new_stack_is_created_without_a_preview(scenario: StackScenario) -> None:
    scenario.recorded = [{"type": stack.STACK_TYPE}]
    assert stack.up("dev") == 0
    assert scenario.updates() == [["up", "--skip-preview"]]


def test_without_a_change_there_is_no_update(scenario: StackScenario) -> None:
    assert stack.up("dev") == 0
    assert scenario.updates() == [["preview", "--refresh=false"]]


@pytest.mark.parametrize(
    "change",
    [
        step("update", CONTAINER),
        step("create-replacement", CONTAINER),
        step("delete", CONTAINER),
        step("same", stack.STACK_TYPE, {"redis": "a"}, {"redis": "b"}),
        step("same", stack.STACK_TYPE, None, {"redis": "b"}),
    ],
    ids=["update", "replacement", "deletion", "changed output", "first outputs"],
)
def test_a_change_is_previewed_and_then_applied(scenario: StackScenario, change: dict[str, Any]) -> None:
    scenario.events.append(change)
    assert stack.up("dev") == 0
    assert scenario.updates() == [["preview", "--refresh=false"], ["up", "--skip-preview", "--refresh=false"]]


def test_manual_changes_are_detected(scenario: StackScenario) -> None:
    scenario.has_drifted = True
    scenario.events.append(step("create", CONTAINER))
    assert stack.up("dev") == 0
    assert scenario.updates() == [["preview"], ["up", "--skip-preview"]]


def test_pending_creations_of_an_interrupted_update_are_cleared_after_the_next(scenario: StackScenario) -> None:
    scenario.pending = ["urn:redis", "urn:redis"]
    assert stack.up("dev") == 0
    assert scenario.updates() == [["preview"], ["up", "--skip-preview"]]
    assert scenario.commands[-1][:2] == ["refresh", "--clear-pending-creates"]


def test_a_pending_creation_that_the_program_no_longer_has_is_reported(
    scenario: StackScenario, capsys: pytest.CaptureFixture[str]
) -> None:
    scenario.pending = ["urn:redis", "urn:former"]
    assert stack.up("dev") == 0
    assert "refresh" not in {command[0] for command in scenario.commands}
    printed = capsys.readouterr().out
    assert "  urn:former\n" in printed
    assert "urn:redis" not in printed
    assert "pulumi refresh --clear-pending-creates --yes --non-interactive --stack dev" in printed


def test_pending_creations_that_cannot_be_cleared_are_an_error(scenario: StackScenario) -> None:
    scenario.pending, scenario.failing = ["urn:redis"], "refresh"
    with pytest.raises(OperationError, match=r"(?s)the plugin has ended.*pulumi refresh --clear-pending-creates"):
        stack.up("dev")


def test_pending_creations_stay_after_an_update_that_fails(
    scenario: StackScenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenario.pending = ["urn:redis"]
    monkeypatch.setattr(stack, "_run_attached", lambda arguments, more=None: REFUSED_EXIT_CODE)
    assert stack.up("dev") == REFUSED_EXIT_CODE
    assert "refresh" not in {command[0] for command in scenario.commands}


def test_manual_changes_are_repaired_before_the_preview(scenario: StackScenario) -> None:
    assert stack.up("dev") == 0
    ran = [one[0] for one in scenario.commands]
    assert ran.index("repair") < ran.index("preview")


def test_a_refused_preview_starts_no_update(scenario: StackScenario) -> None:
    scenario.preview = REFUSED_EXIT_CODE
    scenario.events.append(step("update", CONTAINER))
    assert stack.up("dev") == REFUSED_EXIT_CODE
    assert [one[0] for one in scenario.updates()] == ["preview"]


def test_without_an_engine_or_a_cluster_no_update_starts(scenario: StackScenario) -> None:
    scenario.unreachable = "The cluster can't be reached"
    with pytest.raises(OperationError, match=r"The cluster can't be reached\nNothing has been changed\."):
        stack.up("prod")
    assert scenario.commands == []


def test_without_a_change_up_waits_for_unready_workloads(
    scenario: StackScenario, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(stack, "POLL_S", 0)
    scenario.unready_polls = [["redis: Restarting"], ["redis: Restarting"], []]
    assert stack.up("dev") == 0
    assert scenario.unready_polls == [[]]
    assert capsys.readouterr().out.count("  redis: Restarting\n") == 1


def test_up_fails_if_a_workload_stays_unready(scenario: StackScenario, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stack, "READY_TIMEOUT_S", 0)
    scenario.unready_polls = [["postgres: 0 of 1 replicas ready"]]
    with pytest.raises(OperationError, match=r"  postgres: 0 of 1 replicas ready\n.*make logs STACK=dev"):
        stack.up("dev")


def test_a_failed_update_is_not_followed_by_a_wait(scenario: StackScenario) -> None:
    scenario.preview = REFUSED_EXIT_CODE
    scenario.unready_polls = [["postgres: 0 of 1 replicas ready"]]
    assert stack.up("dev") == REFUSED_EXIT_CODE


@pytest.mark.parametrize(
    ("backup", "remedy"),
    [("{}", "cp {file}.bak {file}"), ('{"ver', "mv {file} {file}.damaged")],
    ids=["kept", "damaged"],
)
def test_a_damaged_state_is_reported_with_the_fix(
    scenario: StackScenario, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, backup: str, remedy: str
) -> None:
    file = tmp_path / ".pulumi" / "stacks" / "pti-calendar" / "dev.json"
    file.parent.mkdir(parents=True)
    file.write_text('{"version": 3, "check')
    Path(f"{file}.bak").write_text(backup)
    failed = subprocess.CompletedProcess([], 255, "", "error: failed to load checkpoint: unexpected end of JSON input")
    monkeypatch.setattr(stack, "_run_captured", lambda arguments: failed)
    with pytest.raises(OperationError, match=re.escape(remedy.format(file=file))):
        stack.up("dev")


def test_a_full_disk_is_refused_before_it_damages_the_state(
    scenario: StackScenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=3 * 2**20))
    with pytest.raises(OperationError, match="has 3 MiB free, but 64 MiB are required"):
        stack.up("dev")
    assert scenario.commands == []


def test_a_lost_salt_is_restored_before_pulumi_creates_another(scenario: StackScenario, tmp_path: Path) -> None:
    scenario.salt = "v1:recorded"
    assert stack.up("dev") == 0
    assert (tmp_path / "Pulumi.dev.yaml").read_text() == "config: {}\nencryptionsalt: v1:recorded\n"


def test_an_existing_salt_stays(scenario: StackScenario, tmp_path: Path) -> None:
    scenario.salt = "v1:recorded"
    (tmp_path / "Pulumi.dev.yaml").write_text("encryptionsalt: v1:own\n")
    assert stack.up("dev") == 0
    assert (tmp_path / "Pulumi.dev.yaml").read_text() == "encryptionsalt: v1:own\n"


class TestDocker:
    """The comparison of the recorded state with a Docker engine."""

    LISTED = {  # noqa: RUF012 - not changed
        "ps": "web running\nfiles created\ntask exited\n",
        "network": "web-network\n",
        "volume": "web-data\n",
    }
    RECORDED = (
        {"type": CONTAINER, "id": "web", "inputs": {"restart": "unless-stopped"}},
        {"type": CONTAINER, "id": "files", "inputs": {"start": False}},
        {"type": CONTAINER, "id": "task", "inputs": {"restart": "no"}},
        {"type": NETWORK, "id": "web-network"},
        {"type": VOLUME, "id": "web-data"},
        {"type": "docker:index/remoteImage:RemoteImage", "id": "sha256:1"},
        {"type": "pulumi:index:Stash", "id": "1"},
    )

    @pytest.fixture
    def listed_objects(self, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
        """The docker command's list of containers, which a test may change."""
        found = dict(self.LISTED)
        monkeypatch.setattr(containers, "_docker", lambda name, *arguments: found[arguments[0]])
        return found

    def test_workloads_that_match_the_state_have_not_drifted(self, listed_objects: dict[str, str]) -> None:
        assert not containers.may_have_drifted("dev", self.RECORDED)

    @pytest.mark.parametrize(
        ("status", "is_ready"),
        [
            ("Up 3 minutes (healthy)", True),
            ("Up 3 minutes", True),
            ("Exited (0) 2 hours ago", True),
            ("Up 3 minutes (unhealthy)", False),
            ("Up 2 seconds (health: starting)", False),
            ("Up 3 minutes (Paused)", False),
            ("Restarting (1) 3 seconds ago", False),
        ],
    )
    def test_an_unready_container_is_listed(self, monkeypatch: pytest.MonkeyPatch, status: str, is_ready: bool) -> None:
        line = json.dumps(["pti-redis-dev", "redis", status, "", ""])
        monkeypatch.setattr(containers, "_docker", lambda name, *arguments: line)
        named = [] if is_ready else [f"redis: {status} (container pti-redis-dev)"]
        assert containers.unready_workloads("dev") == named

    @pytest.mark.parametrize(
        ("kind", "now"),
        [
            ("ps", "web exited\nfiles created\ntask exited\n"),
            ("ps", "files created\ntask exited\n"),
            ("ps", "web running\ntask exited\n"),
            ("ps", "web running\nfiles created\n"),
            ("network", ""),
            ("volume", ""),
        ],
        ids=["stopped", "removed", "files pruned", "task removed", "network pruned", "volume removed"],
    )
    def test_missing_and_stopped_containers_count_as_drift(
        self, listed_objects: dict[str, str], kind: str, now: str
    ) -> None:
        listed_objects[kind] = now
        assert containers.may_have_drifted("dev", self.RECORDED)


def test_a_state_backend_without_a_passphrase_is_reported_with_the_fix(
    scenario: StackScenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = {
        "stack export": "error: no stack named 'dev' found",
        "stack select": "error: passphrase must be set with",
    }

    def captured(arguments: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(arguments, 255, "", answers[" ".join(arguments[:2])])

    monkeypatch.setattr(stack, "_run_captured", captured)
    with pytest.raises(OperationError, match="Set PULUMI_CONFIG_PASSPHRASE or PULUMI_CONFIG_PASSPHRASE_FILE"):
        stack.up("dev")
