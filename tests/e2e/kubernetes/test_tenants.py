"""Audit, export and erasure of tenants of the prod stack on a real node, from the command line."""

from __future__ import annotations

import io
import json
import uuid
from pathlib import Path

import pytest

from components.stores.postgres.tenants import TENANTS_TASK
from operations import tenants
from operations.runtimes import runtime_of
from tests.e2e.kubernetes.stack import ClusterStack

LEAVING, STAYING = uuid.uuid4(), uuid.uuid4()
BOOKINGS = "pti_rdv/"


@pytest.fixture(scope="module", autouse=True)
def _task(operated: ClusterStack) -> None:
    """The task, which isn't due during the tests."""
    operated.change({"tenants": {"enabled": True, "auditSchedule": "0 3 29 2 *"}})
    operated.up().succeeded()


def test_the_audit_finds_nothing_in_the_services_databases(operated: ClusterStack) -> None:
    assert tenants.audit(operated.name, as_json=False) == 0


def test_one_tenants_bookings_are_exported_and_erased(
    operated: ClusterStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    platform = operated.platform()
    for tenant in (LEAVING, STAYING):
        assert platform.book(tenant, title=f"of {tenant}").status == 201

    capfd.readouterr()
    run_task = runtime_of(operated.name).run_task
    assert run_task(operated.name, TENANTS_TASK, ["sh", "-c", tenants.EXPORT, "sh", str(LEAVING)]) == 0
    output = capfd.readouterr().out.encode().splitlines(keepends=True)
    tenants.receive(tenants.decoded(output), tmp_path / "export")
    assert tenants.verify(tmp_path / "export") >= 1
    files = [path for path in (tmp_path / "export").rglob("*.jsonl") if BOOKINGS in path.as_posix()]
    rows = [json.loads(line) for path in files for line in path.read_text().splitlines()]
    assert {row["tenant_id"] for row in rows} == {str(LEAVING)}
    assert f"of {LEAVING}" in json.dumps(rows)

    monkeypatch.setattr("sys.stdin", io.StringIO(f"{LEAVING}\n"))
    assert tenants.erase(operated.name, str(LEAVING)) == 0
    capfd.readouterr()
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{LEAVING}\n"))
    assert tenants.erase(operated.name, str(LEAVING)) == 0
    assert f"no database has a row of {LEAVING}" in capfd.readouterr().out
    assert platform.titles(STAYING) == [f"of {STAYING}"]
