"""The operations on tenants; the runtime and the task's output are stand-ins."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from operations import tenants
from operations.project import OperationError
from operations.tenants import decoded, receive, verify
from settings.tenants import TenantsSettings

TENANT = "11111111-1111-4111-8111-111111111111"
ROWS = b'{"tenant_id":"1"}\n{"tenant_id":"1"}\n'
FILES = {"pti_rdv/public.appointment.jsonl": ROWS, "pti_user/public.account.jsonl": b""}


class Runtime:
    """Records the commands that it runs, and returns the next of the prepared exit codes."""

    def __init__(self, codes: Sequence[int]) -> None:
        self.codes = [*codes]
        self.commands: list[tuple[str, str, list[str]]] = []

    def run_task(self, stack: str, workload: str, command: Sequence[str] | None = None) -> int:
        self.commands.append((stack, workload, [*(command or ())]))
        return self.codes.pop(0)


def runtime(monkeypatch: pytest.MonkeyPatch, *codes: int, typed: str = "") -> Runtime:
    found = Runtime(codes)
    monkeypatch.setattr(tenants, "runtime_of", lambda stack: found)
    enabled = SimpleNamespace(tenants=TenantsSettings(enabled=True))
    monkeypatch.setattr(tenants, "read_configuration", lambda stack: (enabled, None))
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    return found


def script(*arguments: str) -> tuple[str, str, list[str]]:
    return ("prod", "tenants", ["sh", "/assets/tenants.sh", *arguments])


def test_the_audit_returns_the_scripts_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    ran = runtime(monkeypatch, 1, 0)
    assert tenants.audit("prod", as_json=True) == 1
    assert tenants.audit("prod", as_json=False) == 0
    assert ran.commands == [script("audit", "--json"), script("audit")]


def test_an_erasure_shows_the_rows_and_asks_for_the_tenant(monkeypatch: pytest.MonkeyPatch) -> None:
    ran = runtime(monkeypatch, 0, 0, typed=f"{TENANT}\n")
    assert tenants.erase("prod", TENANT) == 0
    assert ran.commands == [script("erase", TENANT), script("erase", TENANT, "--confirm", TENANT)]


@pytest.mark.parametrize("typed", ["", "prod\n", "yes\n"])
def test_an_erasure_that_is_not_confirmed_does_not_run(monkeypatch: pytest.MonkeyPatch, typed: str) -> None:
    ran = runtime(monkeypatch, 0, typed=typed)
    with pytest.raises(OperationError, match="Not confirmed"):
        tenants.erase("prod", TENANT)
    assert ran.commands == [script("erase", TENANT)]


def test_an_erasure_whose_rows_cannot_be_counted_does_not_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    ran = runtime(monkeypatch, 1, typed=f"{TENANT}\n")
    assert tenants.erase("prod", TENANT) == 1
    assert ran.commands == [script("erase", TENANT)]


def stream() -> list[bytes]:
    """Return the lines of an export."""
    entries = [
        {"file": name, "rows": content.count(b"\n"), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in FILES.items()
    ]
    lines = [
        line
        for name, content in FILES.items()
        for line in (f"==> {name} <==\n".encode(), *content.splitlines(keepends=True))
    ]
    manifest = f'{{"tenant" : "{TENANT}",\n"files" : {json.dumps(entries)},\n"snapshots" : [\n]}}\n'.encode()
    return [*lines, b"==> manifest.json <==\n", *manifest.splitlines(keepends=True)]


def encoded(lines: Sequence[bytes]) -> list[bytes]:
    """Return the output of the task: what gzip and base64 make of the lines, between messages of others."""
    command = ["sh", "-c", "gzip | base64"]
    done = subprocess.run(command, input=b"".join(lines), capture_output=True, check=True)
    output = done.stdout.splitlines(keepends=True)
    return [b"schedule: starts\n", output[0], b"a warning\n", *output[1:], b"schedule: has ended\n"]


def test_an_export_is_written_to_private_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    receive(decoded(encoded(stream())), tmp_path / "new")
    assert verify(tmp_path / "new") == 2
    for name, content in FILES.items():
        assert (tmp_path / "new" / name).read_bytes() == content
    assert (tmp_path / "new").stat().st_mode & 0o077 == 0
    assert capsys.readouterr().err == "schedule: starts\na warning\nschedule: has ended\n"


@pytest.mark.parametrize("lost", [ROWS.splitlines(keepends=True)[0], b"]}\n", b"==> manifest.json <==\n"])
def test_a_lost_line_is_an_error(tmp_path: Path, lost: bytes) -> None:
    lines = stream()
    lines.remove(lost)
    receive(lines, tmp_path)
    with pytest.raises(OperationError, match="The export is incomplete"):
        verify(tmp_path)


def test_a_stream_that_breaks_off_is_an_error(tmp_path: Path) -> None:
    receive(decoded(encoded(stream())[:3]), tmp_path)
    with pytest.raises(OperationError, match="The export is incomplete"):
        verify(tmp_path)


def test_a_stream_with_a_gap_is_an_error(tmp_path: Path) -> None:
    output = encoded(stream())
    del output[1]
    with pytest.raises(OperationError, match="The export is damaged"):
        receive(decoded(output), tmp_path)


def test_an_export_cannot_write_outside_its_directory(tmp_path: Path) -> None:
    receive([b"==> ../outside.jsonl <==\n", b"{}\n", b"==> /tmp/outside.jsonl <==\n", b"{}\n"], tmp_path / "new")
    assert list(tmp_path.rglob("*.jsonl")) == []


def test_a_directory_with_files_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime(monkeypatch)
    (tmp_path / "file").touch()
    with pytest.raises(OperationError, match="isn't empty"):
        tenants.export("prod", TENANT, tmp_path)


def test_a_stack_without_the_task_is_refused_with_the_fix() -> None:
    with pytest.raises(OperationError, match=r"pulumi config set --path pti-calendar:tenants\.enabled true"):
        tenants.audit("dev", as_json=False)
