"""Backups: their settings, and the scheduled task on each kind of server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from settings import SettingsError
from settings.catalog import SERVICES
from tests.unit.mistakes import parsed
from tests.unit.platform_recording import CLUSTER, RecordPlatform
from workloads import Endpoint, ExternalEndpoint, ScheduledTask

ENABLED: Mapping[str, Any] = {"backups": {"enabled": True}}


def task_of(record_platform: RecordPlatform, stack: Mapping[str, Any], secrets: Mapping[str, str]) -> ScheduledTask:
    """Return the scheduled task of a stack."""
    task = record_platform({**CLUSTER, **stack}, secrets).workloads["backup"]
    assert isinstance(task, ScheduledTask)
    return task


class TestSettings:
    def test_a_stack_has_no_backups_by_default(self, record_platform: RecordPlatform) -> None:
        assert "backup" not in record_platform({}).workloads

    @pytest.mark.parametrize(
        "section",
        [
            {"enabled": True, "schedule": "30 2 * *"},
            {"enabled": True, "schedule": "@daily"},
            {"enabled": True, "schedule": "30 2 * * mon"},
            {"enabled": True, "keepCount": 0},
            {"enabled": True, "keepDays": 0},
            {"enabled": True, "storageGib": 0},
            {"keepDays": 3},
            {"enabled": True, "drill": {"enabled": True, "schedule": "@weekly"}},
            {"enabled": True, "drill": {"storageGib": 30}},
            {"enabled": False, "drill": {"enabled": True}},
        ],
    )
    def test_a_mistake_is_refused(self, section: Mapping[str, Any]) -> None:
        with pytest.raises(SettingsError, match=r"backups\."):
            parsed({"backups": section})


class TestTask:
    @pytest.mark.parametrize(
        ("postgres", "secrets", "endpoint", "admin", "ssl_mode"),
        [
            ({}, {}, Endpoint("postgres", 5432), "postgres", "disable"),
            ({"mode": "cloudnativepg"}, {}, Endpoint("postgres", 5432, alias="postgres-rw"), "postgres", "require"),
            (
                {"mode": "external", "external": {"host": "db.example.com", "port": 6432, "admin": "dba"}},
                {"postgresPassword": "hunter2"},
                ExternalEndpoint("db.example.com", 6432),
                "dba",
                "require",
            ),
        ],
        ids=["single", "cloudnativepg", "external"],
    )
    def test_it_connects_to_the_server_of_each_mode(
        self,
        record_platform: RecordPlatform,
        postgres: Mapping[str, Any],
        secrets: Mapping[str, str],
        endpoint: Endpoint | ExternalEndpoint,
        admin: str,
        ssl_mode: str,
    ) -> None:
        task = task_of(record_platform, {**ENABLED, "postgres": postgres}, secrets)
        assert task.connects_to == (endpoint,)
        assert task.depends_on == ("databases",)
        found = {name: task.environment[name] for name in ("PGHOST", "PGPORT", "PGSSLMODE", "ADMIN_USER")}
        assert found == {
            "PGHOST": endpoint.host,
            "PGPORT": str(endpoint.port),
            "PGSSLMODE": ssl_mode,
            "ADMIN_USER": admin,
        }

    def test_it_has_the_configured_schedule_retention_and_volume(self, record_platform: RecordPlatform) -> None:
        section = {"enabled": True, "schedule": "5 */6 * * *", "keepCount": 3, "keepDays": 90, "storageGib": 40}
        task = task_of(record_platform, {"backups": section}, {})
        assert task.schedule == "5 */6 * * *"
        assert (task.environment["BACKUP_KEEP_COUNT"], task.environment["BACKUP_KEEP_DAYS"]) == ("3", "90")
        (volume,) = task.volumes
        assert (volume.name, volume.size_gib) == ("backup-data", 40)
        assert str(task.environment["BACKUP_DIR"]).startswith(f"{volume.mount}/")
        assert str(task.environment["TENANTS_ERASED_FILE"]).startswith(f"{volume.mount}/")

    def test_every_service_s_database_must_exist(self, record_platform: RecordPlatform) -> None:
        task = task_of(record_platform, ENABLED, {})
        assert str(task.environment["BACKUP_DATABASES"]).split() == [service.database for service in SERVICES]

    def test_it_has_every_script_and_no_password_in_its_environment(self, record_platform: RecordPlatform) -> None:
        platform = record_platform({**CLUSTER, **ENABLED})
        scripts = platform.files["backup/scripts"]
        steps = ("backup", "backups", "restore", "restore_tenant", "restoring", "drill", "drill_restore", "scratch")
        tenant = {f"tenant_{step}.sql" for step in ("check", "columns", "copy", "rows", "plan", "replace")}
        sql = {"dump.sql", "rows.sql", "swap.sql", "catalog.sql", "roles.sql"}
        assert {*scripts} == {*(f"{step}.sh" for step in steps), "common.sh", "tenants.sh", *tenant, *sql}
        task = platform.workloads["backup"]
        secrets = [one.directory for one in task.file_sets if one.secret]
        assert secrets == ["/run/secrets/roles", "/run/secrets/backup", "/run/secrets/admin"]
        for name in ("BACKUP_PASSWORD_FILE", "ADMIN_PASSWORD_FILE"):
            directory, _, file = str(task.environment[name]).rpartition("/")
            assert [file] == [
                key for one in task.file_sets if one.secret and one.directory == directory for key in one.files
            ]


class TestMonitoring:
    MONITORED: Mapping[str, Any] = {"monitoring": {"enabled": True, "receivers": {"none": True}}}

    def test_the_exporter_reads_the_times_that_the_task_records(self, record_platform: RecordPlatform) -> None:
        platform = record_platform({**CLUSTER, **ENABLED, **self.MONITORED})
        [queries] = platform.files["postgres-exporter/queries"]
        (directory,) = [
            one.directory for one in platform.workloads["postgres-exporter"].file_sets if one.name == "queries"
        ]
        assert f"--extend.query-path={directory}/{queries}" in platform.workloads["postgres-exporter"].arguments

    def test_the_rules_are_mounted_with_the_configured_age(self, record_platform: RecordPlatform) -> None:
        section = {"enabled": True, "maxAgeHours": 170}
        rules = record_platform({**CLUSTER, **self.MONITORED, "backups": section}).files["prometheus/rules"]
        assert "backup.yml" in rules
        assert '"vector(612000)"' in rules["thresholds.yml"]

    def test_a_stack_without_backups_has_neither(self, record_platform: RecordPlatform) -> None:
        platform = record_platform({**CLUSTER, **self.MONITORED})
        assert "postgres-exporter/queries" not in platform.files
        assert "backup.yml" not in platform.files["prometheus/rules"]


class TestDrill:
    def test_it_reads_the_backups_and_has_no_other_password_than_the_backup_role_s(
        self, record_platform: RecordPlatform
    ) -> None:
        section = {"enabled": True, "drill": {"enabled": True, "schedule": "0 6 1 * *", "storageGib": 7}}
        platform = record_platform({**CLUSTER, "backups": section})
        drill, owner = platform.workloads["restore-drill"], platform.workloads["backup"]
        assert isinstance(drill, ScheduledTask)
        assert drill.schedule == "0 6 1 * *"
        [shared] = drill.shared_volumes
        assert (shared.owner, shared.writable) == ("backup", False)
        [backups] = owner.volumes
        assert shared.name == backups.name
        of_owner = str(owner.environment["BACKUP_DIR"]).removeprefix(backups.mount)
        assert drill.environment["BACKUP_DIR"] == shared.mount + of_owner
        [volume] = drill.volumes
        assert volume.size_gib == 7
        assert str(drill.environment["DRILL_DIR"]).startswith(f"{volume.mount}/")
        assert [one.directory for one in drill.file_sets if one.secret] == ["/run/secrets/backup"]

    def test_backups_have_no_drill_by_default(self, record_platform: RecordPlatform) -> None:
        assert "restore-drill" not in record_platform({**CLUSTER, **ENABLED}).workloads
