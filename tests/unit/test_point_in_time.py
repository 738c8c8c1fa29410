"""Recovery to a point in time: its settings, its workload, its monitoring, and the operator's commands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import yaml

from operations import __main__ as command_line
from operations import point_in_time
from operations.project import OperationError
from settings import SettingsError
from tests.unit.mistakes import parsed
from tests.unit.platform_recording import CLUSTER, RecordPlatform
from workloads import Endpoint, StatefulService

ENABLED: Mapping[str, Any] = {"backups": {"enabled": True, "pointInTime": {"enabled": True}}}
TIME, NAME = "2026-11-29T12:34:56Z", "20261129T130000Z"


class TestSettings:
    def test_a_stack_archives_nothing_by_default(self, record_platform: RecordPlatform) -> None:
        assert "archive" not in record_platform({"backups": {"enabled": True}}).workloads

    @pytest.mark.parametrize(
        "section",
        [
            {"enabled": True, "schedule": "@daily"},
            {"enabled": True, "keepCount": 0},
            {"enabled": True, "keepDays": 0},
            {"enabled": True, "maxWalGib": 0},
            {"enabled": True, "storageGib": 0},
            {"keepDays": 3},
        ],
    )
    def test_a_mistake_is_refused(self, section: Mapping[str, Any]) -> None:
        with pytest.raises(SettingsError, match=r"backups\.pointInTime\."):
            parsed({"backups": {"enabled": True, "pointInTime": section}})

    @pytest.mark.parametrize(
        ("stack", "alternative"),
        [
            ({"postgres": {"mode": "external", "external": {"host": "db.example.com"}}}, "a managed server"),
            ({**CLUSTER, "postgres": {"mode": "cloudnativepg"}}, "ScheduledBackup"),
        ],
        ids=["external", "cloudnativepg"],
    )
    def test_a_server_with_a_recovery_of_its_own_is_refused_with_the_alternative(
        self, stack: Mapping[str, Any], alternative: str
    ) -> None:
        with pytest.raises(SettingsError, match=rf"(?s)backups\.pointInTime\.enabled.*{alternative}"):
            parsed({**ENABLED, **stack})

    def test_it_requires_the_backups(self) -> None:
        with pytest.raises(SettingsError, match=r"(?s)pointInTime\.enabled.*but backups\.enabled is not"):
            parsed({"backups": {"enabled": False, "pointInTime": {"enabled": True}}})

    def test_the_server_keeps_at_most_half_of_its_volume(self) -> None:
        def stack(max_wal_gib: int) -> Mapping[str, Any]:
            archive = {"enabled": True, "maxWalGib": max_wal_gib}
            return {"postgres": {"storageGib": 10}, "backups": {"enabled": True, "pointInTime": archive}}

        assert parsed(stack(5)).backups.point_in_time.max_wal_gib == 5
        with pytest.raises(SettingsError, match=r"(?s)maxWalGib.*more than half of the server's volume"):
            parsed(stack(6))


class TestWorkload:
    def test_it_connects_to_the_server_after_its_role_is_created(self, record_platform: RecordPlatform) -> None:
        archive = record_platform({**CLUSTER, **ENABLED}).workloads["archive"]
        assert isinstance(archive, StatefulService)
        assert (archive.connects_to, archive.depends_on) == ((Endpoint("postgres", 5432),), ("databases",))
        assert archive.replicas == 1

    def test_it_has_the_configured_schedule_retention_and_volume(self, record_platform: RecordPlatform) -> None:
        section = {"enabled": True, "schedule": "5 */6 * * *", "keepCount": 3, "keepDays": 9, "storageGib": 40}
        archive = record_platform({"backups": {"enabled": True, "pointInTime": section}}).workloads["archive"]
        assert isinstance(archive, StatefulService)
        found = [archive.environment[f"ARCHIVE_{name}"] for name in ("SCHEDULE", "KEEP_COUNT", "KEEP_DAYS")]
        assert found == ["5 */6 * * *", "3", "9"]
        (volume,) = archive.volumes
        assert (volume.name, volume.size_gib) == ("archive-data", 40)
        for name in ("ARCHIVE_DIR", "BACKUP_DIR", "TENANTS_ERASED_FILE"):
            assert str(archive.environment[name]).startswith(f"{volume.mount}/")

    def test_it_has_every_script_and_no_password_in_its_environment(self, record_platform: RecordPlatform) -> None:
        platform = record_platform({**CLUSTER, **ENABLED})
        archive = {"archive.sh", "base.sh", "chains.sh", "points.sh", "ready.sh", "receive.sh", "recover.sh", "task.sh"}
        shared = {"backup.sh", "common.sh", "restore.sh", "scheduler.sh", "scratch.sh", "tenants.sh"}
        assert archive | shared <= {*platform.files["archive/scripts"]}
        workload = platform.workloads["archive"]
        secrets = {f"{one.directory}/{key}" for one in workload.file_sets if one.secret for key in one.files}
        for name in ("ARCHIVE_PASSWORD_FILE", "BACKUP_PASSWORD_FILE", "ADMIN_PASSWORD_FILE"):
            assert workload.environment[name] in secrets

    @pytest.mark.parametrize(("stack", "size"), [({}, "2048MB"), (ENABLED, "3072MB")], ids=["without", "with"])
    def test_the_server_keeps_the_configured_wal(
        self, record_platform: RecordPlatform, stack: Mapping[str, Any], size: str
    ) -> None:
        backups = {"enabled": True, "pointInTime": {"enabled": True, "maxWalGib": 3}} if stack else {}
        server = record_platform({"backups": backups}).workloads["postgres"]
        assert f"max_slot_wal_keep_size={size}" in server.arguments

    @pytest.mark.parametrize("stack", [{}, ENABLED], ids=["without", "with"])
    def test_its_role_exists_only_with_it(self, record_platform: RecordPlatform, stack: Mapping[str, Any]) -> None:
        assert ("pti_archive" in record_platform({**CLUSTER, **stack}).files["databases/roles"]) == bool(stack)


class TestMonitoring:
    MONITORED: Mapping[str, Any] = {"monitoring": {"enabled": True, "receivers": {"none": True}}}

    def test_the_rules_and_their_queries_belong_together(self, record_platform: RecordPlatform) -> None:
        platform = record_platform({**CLUSTER, **ENABLED, **self.MONITORED})
        rules = platform.files["prometheus/rules"]["archive.yml"]
        queries = yaml.safe_load(platform.files["postgres-exporter/queries"]["exporter_queries.yml"])
        for name in ("pti_archive", "pti_archive_slot"):
            for metric in queries[name]["metrics"]:
                assert f"{name}_{next(iter(metric))}" in rules

    def test_there_are_no_rules_without_an_archive(self, record_platform: RecordPlatform) -> None:
        stack = {**CLUSTER, "backups": {"enabled": True}, **self.MONITORED}
        assert "archive.yml" not in record_platform(stack).files["prometheus/rules"]


class RecordingRuntime:
    """A runtime whose commands return prepared exit codes."""

    def __init__(self) -> None:
        self.commands: list[Sequence[str]] = []
        self.statuses: list[int] = []

    def run_in_container(self, stack: str, workload: str, command: Sequence[str], cancel: Sequence[str]) -> int:
        """Record a command and return its exit code: 0, unless one is prepared."""
        assert (stack, workload) == ("dev", "archive")
        assert cancel == ["sh", "/assets/scheduler.sh", "cancel"]
        self.commands.append(list(command))
        return self.statuses.pop(0) if self.statuses else 0


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> RecordingRuntime:
    """The runtime of the stack dev, which has an archive."""
    recorded = RecordingRuntime()
    monkeypatch.setattr(point_in_time, "runtime_of", lambda stack: recorded)
    monkeypatch.setattr(point_in_time, "read_configuration", lambda stack: (parsed(ENABLED), {}))
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


LOCKED = ["sh", "/assets/scheduler.sh", "run"]
"""Runs a command unless another one is in progress."""


class TestCommands:
    @pytest.mark.parametrize(
        ("arguments", "command"),
        [
            (["points"], ["sh", "/assets/points.sh"]),
            (["points", "--json"], ["sh", "/assets/points.sh", "--json"]),
            (["points", "--verify"], ["sh", "/assets/points.sh", "--verify"]),
            (["backup", "--base"], LOCKED),
            (
                ["recover", "--to", TIME, "--all", "--yes"],
                [*LOCKED, "sh", "/assets/recover.sh", "--to", TIME, "--all", "--confirm"],
            ),
        ],
    )
    def test_a_command_runs_its_script_and_returns_its_exit_code(
        self,
        runtime: RecordingRuntime,
        monkeypatch: pytest.MonkeyPatch,
        arguments: list[str],
        command: list[str],
    ) -> None:
        runtime.statuses = [3]
        assert run(monkeypatch, *arguments) == 3
        assert runtime.commands == [command]

    def test_the_recovered_backup_replaces_the_database_once_its_name_is_typed(
        self, runtime: RecordingRuntime, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert run(monkeypatch, "recover", "--to", TIME, "--database", "pti_user", typed=NAME) == 0
        assert runtime.commands == [
            [*LOCKED, "sh", "/assets/recover.sh", "--to", TIME, "--database", "pti_user"],
            [*LOCKED, "sh", "/assets/restore.sh", "--database", "pti_user", "--from", NAME, "--confirm", NAME],
        ]

    @pytest.mark.parametrize("typed", [None, " "])
    def test_nothing_is_replaced_without_a_confirmation(
        self,
        runtime: RecordingRuntime,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        typed: str | None,
    ) -> None:
        assert run(monkeypatch, "recover", "--to", TIME, "--all", typed=typed) == 1
        assert len(runtime.commands) == 1
        assert "Not confirmed" in capsys.readouterr().err

    def test_a_failed_recovery_asks_nothing(self, runtime: RecordingRuntime, monkeypatch: pytest.MonkeyPatch) -> None:
        runtime.statuses = [1]
        assert run(monkeypatch, "recover", "--to", TIME, "--all", typed=NAME) == 1
        assert len(runtime.commands) == 1

    def test_a_stack_without_an_archive_is_refused(
        self, runtime: RecordingRuntime, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(point_in_time, "read_configuration", lambda stack: (parsed({}), {}))
        with pytest.raises(OperationError, match=r"backups\.pointInTime\.enabled true"):
            point_in_time.list_points("dev", as_json=False, verify=False)
        assert runtime.commands == []
