"""The scheduled task for the audit, export and erasure of tenants."""

from __future__ import annotations

from settings.catalog import SERVICES
from tests.unit.platform_recording import RecordPlatform
from workloads import Endpoint, ScheduledTask


def test_the_task_audits_by_schedule(record_platform: RecordPlatform) -> None:
    configured = {"tenants": {"enabled": True, "auditSchedule": "0 5 * * 1"}}
    task = record_platform({"credentials": "well-known", **configured}).workloads["tenants"]
    assert isinstance(task, ScheduledTask)
    assert (task.command, task.schedule) == (("sh", "/assets/tenants.sh", "audit"), "0 5 * * 1")
    assert task.depends_on == ("databases",)
    assert task.connects_to == (Endpoint("postgres", 5432),)


def test_the_task_has_no_password_of_a_superuser_or_an_application(record_platform: RecordPlatform) -> None:
    platform = record_platform({"credentials": "well-known", "tenants": {"enabled": True}})
    sets = {name: files for name, files in platform.files.items() if name.startswith("tenants/")}
    migrators = {f"{service.database}_migrator" for service in SERVICES}
    assert sets["tenants/roles"].keys() == {"pti_backup", *migrators}
    assert {name for name in platform.secret_files if name.startswith("tenants/")} == {"tenants/roles"}
    assert [line.split()[1] for line in sets["tenants/table"]["databases"].splitlines()] == [
        service.database for service in SERVICES
    ]


def test_a_stack_has_no_task_by_default(record_platform: RecordPlatform) -> None:
    assert "tenants" not in record_platform({"credentials": "well-known"}).workloads
