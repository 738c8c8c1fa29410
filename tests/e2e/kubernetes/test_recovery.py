"""Recovery to a point in time of the prod stack on a real node, from the command line."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from components.stores.postgres.archive import ARCHIVE
from operations import backups, point_in_time
from tests.e2e.counted import counted
from tests.e2e.kubernetes.stack import ClusterStack
from tests.engine.waiting import until
from tests.failures import FailureRecord

DATABASE = "pti_rdv"
TENANT = uuid.uuid4()
NEVER = "0 3 29 2 *"


@pytest.fixture(scope="module", autouse=True)
def _archive(operated: ClusterStack) -> Iterator[None]:
    """An archive. Nothing is due during the tests, and nothing is left after them: the stack keeps the claims."""
    archive = {"enabled": True, "schedule": NEVER, "storageGib": 2, "maxWalGib": 1}
    operated.change({"backups": {"enabled": True, "schedule": NEVER, "storageGib": 1, "pointInTime": archive}})
    operated.up().succeeded()
    yield
    operated.change({"backups": {"enabled": False, "pointInTime": {"enabled": False}}})
    operated.up().succeeded()
    operated.kubectl("delete", "persistentvolumeclaim", "backup-data-backup", f"archive-data-{ARCHIVE}-0")


def test_a_database_gets_the_rows_of_the_moment_before_a_mistake_back(
    operated: ClusterStack, failure_record: FailureRecord, capfd: pytest.CaptureFixture[str]
) -> None:
    effect = "bookings since the moment before the mistake are gone after the recovery"
    failure_record.begin("A service has written wrong rows, with an archive", on="Kubernetes", effect=effect)
    platform = operated.platform()
    until("there is a base backup", lambda: points(operated, capfd))
    assert platform.book(TENANT, title="before the mistake").status == 201
    operated.kubectl("delete", "pod", f"{ARCHIVE}-0")
    before = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    assert platform.book(TENANT, title="the mistake").status == 201
    with counted(platform, failure_record), failure_record.measure_recovery():
        assert point_in_time.recover(operated.name, before, DATABASE, confirmed=True) == 0
        until("the service reads the recovered rows", lambda: platform.titles(TENANT) == ["before the mistake"])
    failure_record.set_lost("what was written after that moment")
    assert backups.drop_replaced(operated.name, confirmed=True) == 0
    assert point_in_time.take_base_backup(operated.name) == 0
    assert len(points(operated, capfd)) == 2
    assert point_in_time.list_points(operated.name, as_json=False, verify=True) == 0


def points(stack: ClusterStack, capfd: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """Return the recoverable times."""
    capfd.readouterr()
    assert point_in_time.list_points(stack.name, as_json=True, verify=False) == 0
    found: list[dict[str, Any]] = json.loads(capfd.readouterr().out)
    return found
