"""Backups of the prod stack on a real node, from the command line: taken, restored, cut off, kept without the stack's
task."""

from __future__ import annotations

import re
import threading
import uuid
from collections.abc import Iterator

import pytest

from components.stores.postgres.backup import BACKUP_TASK
from components.stores.postgres.restore_drill import DRILL_TASK
from operations import backups
from operations.project import OperationError
from tests.e2e.counted import counted
from tests.e2e.kubernetes.stack import ClusterStack
from tests.engine.waiting import until
from tests.failures import FailureRecord

DATABASE = "pti_rdv"
TENANT = uuid.uuid4()
NAME = re.compile(r"^(\d{8}T\d{6}Z)  PostgreSQL", re.MULTILINE)


@pytest.fixture(scope="module", autouse=True)
def _first_backup(operated: ClusterStack) -> Iterator[None]:
    """A backup. None is due during the tests, and none is left after them: the stack keeps the claim."""
    drill = {"enabled": True, "schedule": "0 3 29 2 *", "storageGib": 2}
    operated.change({"backups": {"enabled": True, "schedule": "0 3 29 2 *", "storageGib": 1, "drill": drill}})
    operated.up().succeeded()
    assert backups.backup(operated.name) == 0
    yield
    # A claim stays as long as a pod that has ended uses it.
    selector = f"--selector=app.kubernetes.io/name in ({BACKUP_TASK}, {DRILL_TASK})"
    operated.kubectl("delete", "jobs,persistentvolumeclaims", selector)


def test_a_database_gets_the_rows_of_its_backup_back(
    operated: ClusterStack, failure_record: FailureRecord, capfd: pytest.CaptureFixture[str]
) -> None:
    effect = "bookings since the backup are gone after the restore"
    failure_record.begin("A service has written wrong rows", on="Kubernetes", effect=effect)
    platform = operated.platform()
    assert platform.book(TENANT, title="before the backup").status == 201
    assert backups.backup(operated.name) == 0
    name = newest(operated, capfd)
    assert platform.book(TENANT, title="after the backup").status == 201

    with counted(platform, failure_record), failure_record.measure_recovery():
        assert backups.restore(operated.name, DATABASE, name, confirmed=True) == 0
        until("the service reads the restored rows", lambda: platform.titles(TENANT) == ["before the backup"])
    failure_record.set_lost("what was written after the backup")
    platform.journey()
    assert backups.drop_replaced(operated.name, confirmed=True) == 0
    assert "replaced_" in capfd.readouterr().out


def test_a_drill_restores_the_newest_backup_beside_its_volume(
    operated: ClusterStack, capfd: pytest.CaptureFixture[str]
) -> None:
    name = newest(operated, capfd)
    assert backups.drill(operated.name) == 0
    assert f"backup {name}: restored into a temporary server" in capfd.readouterr().out


def test_the_next_backup_succeeds_after_one_was_cut_off(
    operated: ClusterStack, capfd: pytest.CaptureFixture[str]
) -> None:
    before = names(operated, capfd)
    ended: list[int] = []
    running = threading.Thread(target=lambda: ended.append(backups.backup(operated.name)))
    running.start()
    until("its pod runs", lambda: job_pods(operated))
    operated.kubectl("delete", "pod", "--force", "--grace-period=0", *job_pods(operated))
    running.join()
    assert ended != [0]
    assert names(operated, capfd) == before
    assert backups.backup(operated.name) == 0
    assert len(names(operated, capfd)) == len(before) + 1
    assert backups.verify(operated.name, None) == 0


def test_backups_outlive_their_task(operated: ClusterStack, capfd: pytest.CaptureFixture[str]) -> None:
    before = names(operated, capfd)
    with operated.temporary_configuration():
        operated.change({"backups": {"enabled": False, "drill": {"enabled": False}}})
        operated.up().succeeded()
        assert operated.objects("cronjobs") == []
        with pytest.raises(OperationError, match="has no backups"):
            backups.list_backups(operated.name, as_json=False)
    operated.up().succeeded()
    assert names(operated, capfd) == before


def names(stack: ClusterStack, capfd: pytest.CaptureFixture[str]) -> list[str]:
    """Return the names of the backups."""
    capfd.readouterr()
    assert backups.list_backups(stack.name, as_json=False) == 0
    return NAME.findall(capfd.readouterr().out)


def newest(stack: ClusterStack, capfd: pytest.CaptureFixture[str]) -> str:
    """Return the name of the newest backup."""
    return names(stack, capfd)[-1]


def job_pods(stack: ClusterStack) -> list[str]:
    """Return the names of the running pods of the task."""
    selector = "app.kubernetes.io/name=backup"
    running = ("--field-selector=status.phase=Running", f"--selector={selector}")
    return stack.kubectl("get", "pods", *running, "--output=jsonpath={.items[*].metadata.name}").split()
