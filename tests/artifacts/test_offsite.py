"""Off-site copies with the real restic: what is copied, what comes back, what a run does if the repository is away,
half-written, locked, full, or has another password.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.artifacts.offsite_repositories import (
    PASSWORD,
    SECRET_KEY,
    WRITER_KEY,
    Offsite,
    needs_restic,
    needs_s3,
    needs_sshd,
    offsite_in,
    s3_server,
    set_policy,
    sftp_server,
    sftp_user,
)
from tests.full_run import only_in_full_runs

pytestmark = [only_in_full_runs, needs_restic]

NO_SESSION = "unable to start the sftp session"
"""restic may end before it has passed on what ssh printed."""

OLD, NEWER, NEWEST = "20261127T023000Z", "20261128T023000Z", "20261129T023000Z"


@pytest.fixture
def offsite(tmp_path: Path) -> Offsite:
    """The script with a repository in a directory, and two backups."""
    made = offsite_in(tmp_path)
    made.write_backup(OLD)
    made.write_backup(NEWER)
    return made


def files_of(folder: Path) -> dict[str, bytes]:
    """Return the content of each file."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


class TestCopies:
    def test_every_complete_backup_is_copied_once(self, offsite: Offsite) -> None:
        (offsite.backups / f"incomplete.{NEWEST}").mkdir()
        (offsite.backups / "lost+found").mkdir()
        first = offsite.run("copy")
        assert (first.status, first.errors) == (0, "")
        assert offsite.copies() == [OLD, NEWER]
        offsite.write_backup(NEWEST)
        second = offsite.run("copy")
        assert [line for line in second.output.splitlines() if "copied" in line] == [
            line for line in second.output.splitlines() if NEWEST in line and "copied" in line
        ]
        assert offsite.copies() == [OLD, NEWER, NEWEST]

    def test_a_fetched_copy_equals_the_backup(self, offsite: Offsite) -> None:
        before = files_of(offsite.backups / NEWER)
        assert offsite.run("copy").status == 0
        shutil.rmtree(offsite.backups / NEWER)
        outcome = offsite.run("fetch", NEWER)
        assert (outcome.status, outcome.errors) == (0, "")
        assert files_of(offsite.backups / NEWER) == before
        assert sorted(path.name for path in offsite.backups.iterdir()) == [OLD, NEWER]

    def test_a_new_machine_needs_only_the_repository_and_its_password(self, offsite: Offsite, tmp_path: Path) -> None:
        before = files_of(offsite.backups / NEWER)
        assert offsite.run("copy").status == 0
        (tmp_path / "new").mkdir()
        other = offsite_in(tmp_path / "new")
        other.environment |= {"RESTIC_REPOSITORY": offsite.environment["RESTIC_REPOSITORY"], "OFFSITE_STACK": "prod2"}
        assert other.copies() == [OLD, NEWER]
        assert other.run("fetch", NEWER).status == 0
        assert files_of(other.backups / NEWER) == before

    def test_a_new_machine_gets_the_list_of_erased_tenants(self, offsite: Offsite, tmp_path: Path) -> None:
        """A restore there erases them again, although the backup contains their rows."""
        erased, later = "a" * 8 + " 2026 -", "b" * 8 + " 2026 -"
        (tmp_path / "erased-tenants").write_text(f"{erased}\n")
        offsite.environment["OFFSITE_ERASED_FILE"] = str(tmp_path / "erased-tenants")
        assert offsite.run("copy").status == 0
        (tmp_path / "new").mkdir()
        other = offsite_in(tmp_path / "new")
        listed = tmp_path / "new" / "erased-tenants"
        listed.write_text(f"{later}\n")
        other.environment |= {
            "RESTIC_REPOSITORY": offsite.environment["RESTIC_REPOSITORY"],
            "OFFSITE_ERASED_FILE": str(listed),
        }
        assert other.run("fetch", NEWER).status == 0
        assert listed.read_text() == f"{erased}\n{later}\n"

    def test_a_shorter_list_of_erased_tenants_does_not_push_out_the_longer_one(
        self, offsite: Offsite, tmp_path: Path
    ) -> None:
        """On a new machine, the list begins empty. If a tenant is erased there before a copy is fetched, the earlier
        tenants must still be known."""
        erased, later = "a" * 8 + " 2026 -", "b" * 8 + " 2026 -"
        listed = tmp_path / "erased-tenants"
        offsite.environment["OFFSITE_ERASED_FILE"] = str(listed)
        for lines in (f"{erased}\n", f"{later}\n"):
            listed.write_text(lines)
            assert offsite.run("copy").status == 0
        listed.unlink()
        (offsite.backups / NEWER).rename(tmp_path / "lost")
        assert offsite.run("fetch", NEWER).status == 0
        assert listed.read_text() == f"{erased}\n{later}\n"

    def test_the_copies_are_encrypted(self, offsite: Offsite) -> None:
        marker = b"-- a line that is easy to find " * 40
        folder = offsite.write_backup(NEWEST)
        (folder / "extra").write_bytes(marker)
        assert offsite.run("copy").status == 0
        stored = [path.read_bytes() for path in (offsite.home / "repository").rglob("*") if path.is_file()]
        assert stored
        assert not any(b"easy to find" in one or PASSWORD.encode() in one for one in stored)

    def test_no_process_has_the_password_in_its_arguments_or_environment(self, offsite: Offsite) -> None:
        """restic is replaced by a program that records its own."""
        recorder = offsite.home / "bin" / "restic"
        real = recorder.resolve()
        recorder.unlink()
        recorder.write_text(f'#!/bin/sh\n{{ env; printf "%s\\n" "$@"; }} >>{offsite.home}/seen\nexec {real} "$@"\n')
        recorder.chmod(0o755)
        assert offsite.run("copy").status == 0
        seen = (offsite.home / "seen").read_text()
        assert "backup" in seen
        assert PASSWORD not in seen

    def test_old_copies_are_deleted_by_the_rules(self, offsite: Offsite) -> None:
        offsite.environment["OFFSITE_KEEP"] = "--keep-last 1"
        offsite.write_backup(NEWEST)
        assert offsite.run("copy").status == 0
        assert offsite.copies() == [NEWEST]

    def test_the_copies_of_another_stack_are_not_deleted(self, offsite: Offsite) -> None:
        assert offsite.run("copy").status == 0
        for name in (OLD, NEWER):
            shutil.rmtree(offsite.backups / name)
        offsite.write_backup(NEWEST)
        offsite.environment |= {"OFFSITE_STACK": "other", "OFFSITE_KEEP": "--keep-last 1"}
        assert offsite.run("copy").status == 0
        assert offsite.copies() == [OLD, NEWER, NEWEST]


class TestRefusals:
    def test_another_password_neither_copies_nor_initialises(self, offsite: Offsite) -> None:
        assert offsite.run("copy").status == 0
        before = sorted(path for path in (offsite.home / "repository").rglob("*"))
        (offsite.home / "password").write_text("another")
        offsite.write_backup(NEWEST)
        outcome = offsite.run("copy")
        assert outcome.status == 1
        assert "has another password (secret offsitePassword)" in outcome.errors
        assert sorted(path for path in (offsite.home / "repository").rglob("*")) == before

    @pytest.mark.parametrize("content", ["", None])
    def test_a_missing_password_is_refused(self, offsite: Offsite, content: str | None) -> None:
        (offsite.home / "password").write_text("") if content == "" else (offsite.home / "password").unlink()
        outcome = offsite.run("copy")
        assert outcome.status == 1
        assert "it has the repository's password" in outcome.errors
        assert not (offsite.home / "repository").exists()

    def test_a_repository_that_has_lost_its_configuration_is_not_initialised_again(self, offsite: Offsite) -> None:
        assert offsite.run("copy").status == 0
        (offsite.home / "repository" / "config").unlink()
        outcome = offsite.run("copy")
        assert outcome.status == 1
        assert "already contains" in outcome.errors
        assert not (offsite.home / "repository" / "config").exists()

    def test_a_list_does_not_initialise(self, offsite: Offsite) -> None:
        outcome = offsite.run("list")
        assert (outcome.status, outcome.output) == (1, "")
        assert "does not exist, or is empty" in outcome.errors
        assert not (offsite.home / "repository").exists()

    def test_a_damaged_backup_is_not_copied_but_the_others_are(self, offsite: Offsite) -> None:
        (offsite.backups / OLD / "pti_rdv.dump").write_bytes(b"damaged")
        outcome = offsite.run("copy")
        assert outcome.status == 1
        assert f"copy of {OLD}" in outcome.errors
        assert "pti_rdv.dump: FAILED" in outcome.errors
        assert offsite.copies() == [NEWER]

    def test_no_backup_at_all_is_a_failure(self, offsite: Offsite) -> None:
        for name in (OLD, NEWER):
            shutil.rmtree(offsite.backups / name)
        outcome = offsite.run("copy")
        assert outcome.status == 1
        assert "it has no complete backup" in outcome.errors

    def test_a_damaged_repository_fails_the_run(self, offsite: Offsite) -> None:
        assert offsite.run("copy").status == 0
        for pack in (offsite.home / "repository" / "data").rglob("*"):
            if pack.is_file():
                pack.chmod(0o600)
                pack.write_bytes(bytes(pack.stat().st_size))
        outcome = offsite.run("copy")
        assert outcome.status == 1
        assert "check of the repository" in outcome.errors

    @pytest.mark.parametrize(
        ("name", "problem"),
        [
            ("latest", "is not the name of a backup"),
            ("../x", "is not the name of a backup"),
            (NEWEST, "has no copy of it"),
            (NEWER, "exists already"),
        ],
    )
    def test_a_fetch_of_something_else_changes_nothing(self, offsite: Offsite, name: str, problem: str) -> None:
        assert offsite.run("copy").status == 0
        outcome = offsite.run("fetch", name)
        assert outcome.status == 1
        assert problem in outcome.errors
        assert sorted(path.name for path in offsite.backups.iterdir()) == [OLD, NEWER]

    def test_a_copy_that_does_not_match_its_manifest_does_not_get_its_name(self, offsite: Offsite) -> None:
        """As after a run that couldn't read a file: restic writes a snapshot of the rest."""
        (offsite.backups / NEWER / "pti_rdv.dump").unlink()
        offsite.environment["OFFSITE_KEEP"] = ""
        assert offsite.restic("init").returncode == 0
        tags = ["--tag", f"pti-backup,{NEWER}", "--host", "dev"]
        done = subprocess.run(
            ["restic", "backup", "--no-cache", *tags, NEWER],
            env=offsite.environment,
            cwd=offsite.backups,
            check=False,
            capture_output=True,
        )
        assert done.returncode == 0
        shutil.rmtree(offsite.backups / NEWER)
        outcome = offsite.run("fetch", NEWER)
        assert outcome.status == 1
        assert "the copy is damaged" in outcome.errors
        assert [path.name for path in offsite.backups.iterdir()] == [OLD]

    def test_an_incomplete_copy_is_copied_again_and_the_complete_one_is_fetched(self, offsite: Offsite) -> None:
        folder = offsite.backups / NEWER
        before = files_of(folder)
        assert offsite.restic("init").returncode == 0
        (folder / "pti_rdv.dump").unlink()
        tags = ["--tag", f"pti-backup,{NEWER}", "--host", "dev"]
        subprocess.run(
            ["restic", "backup", "--no-cache", *tags, NEWER],
            env=offsite.environment,
            cwd=offsite.backups,
            check=True,
            capture_output=True,
        )
        (folder / "pti_rdv.dump").write_bytes(before["pti_rdv.dump"])
        assert offsite.run("copy").status == 0
        shutil.rmtree(folder)
        assert offsite.run("fetch", NEWER).status == 0
        assert files_of(folder) == before

    @pytest.mark.skipif(os.geteuid() != 0, reason="a mount needs root")
    def test_a_read_only_volume_is_named_with_the_setting(self, offsite: Offsite) -> None:
        assert offsite.run("copy").status == 0
        subprocess.run(["mount", "--bind", "-o", "ro", offsite.backups, offsite.backups], check=True)
        try:
            outcome = offsite.run("fetch", NEWEST)
        finally:
            subprocess.run(["umount", offsite.backups], check=True)
        assert outcome.status == 1
        assert "Set backups.offsite.allowFetch to true" in outcome.errors


class TestInterruptions:
    def start_slow_copy(self, offsite: Offsite) -> subprocess.Popen[str]:
        """Start a run, and return once its backup holds a lock."""
        assert offsite.run("copy").status == 0
        offsite.write_backup(NEWEST, size=150_000_000)
        process = offsite.start("copy")
        locks = offsite.home / "repository" / "locks"
        packs = offsite.home / "repository" / "data"
        before = sum(1 for path in packs.rglob("*") if path.is_file())
        deadline = time.monotonic() + 60
        while not (any(locks.iterdir()) and sum(1 for path in packs.rglob("*") if path.is_file()) > before):
            assert time.monotonic() < deadline, "restic hasn't begun to write"
            assert process.poll() is None
            time.sleep(0.01)
        return process

    def test_after_a_kill_the_next_run_copies_what_is_missing(self, offsite: Offsite) -> None:
        process = self.start_slow_copy(offsite)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        assert any((offsite.home / "repository" / "locks").iterdir())
        assert offsite.copies() == [OLD, NEWER]
        outcome = offsite.run("copy")
        assert (outcome.status, outcome.errors) == (0, "")
        assert offsite.copies() == [OLD, NEWER, NEWEST]
        assert not any((offsite.home / "repository" / "locks").iterdir())

    def test_a_stopped_run_removes_its_lock_and_fails(self, offsite: Offsite) -> None:
        process = self.start_slow_copy(offsite)
        process.terminate()
        _, errors = process.communicate(timeout=30)
        assert process.returncode == 143, errors
        assert not any((offsite.home / "repository" / "locks").iterdir())
        assert offsite.copies() == [OLD, NEWER]

    @pytest.mark.skipif(os.geteuid() != 0, reason="another host name needs root")
    def test_the_lock_of_another_machine_is_kept(self, offsite: Offsite) -> None:
        """It may be in use: only restic's own rule (30 minutes without a refresh) makes it stale."""
        assert offsite.run("copy").status == 0
        hold = ["unshare", "--uts", "sh", "-c", "hostname elsewhere; exec restic --no-cache backup --stdin -q"]
        holder = subprocess.Popen(hold, env=offsite.environment, stdin=subprocess.PIPE, start_new_session=True)
        locks = offsite.home / "repository" / "locks"
        try:
            deadline = time.monotonic() + 30
            while not any(locks.iterdir()):
                assert time.monotonic() < deadline
                time.sleep(0.05)
            os.killpg(holder.pid, signal.SIGKILL)
        finally:
            holder.kill()
            holder.wait()
        offsite.write_backup(NEWEST)
        outcome = offsite.run("copy")
        assert outcome.status == 1
        assert "another process has locked the repository" in outcome.errors
        # Only the deletion needs the repository for itself.
        assert offsite.copies() == [OLD, NEWER, NEWEST]
        assert any(locks.iterdir())

    @pytest.mark.skipif(os.geteuid() != 0, reason="a mount needs root")
    def test_a_full_destination_fails_the_run_and_keeps_the_copies(self, offsite: Offsite) -> None:
        repository = offsite.home / "repository"
        repository.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", repository], check=True)
        try:
            assert offsite.run("copy").status == 0
            offsite.write_backup(NEWEST, size=20_000_000)
            outcome = offsite.run("copy")
            assert outcome.status == 1
            assert "no space left on device" in outcome.errors
            assert offsite.copies() == [OLD, NEWER]
            shutil.rmtree(offsite.backups / NEWER)
            assert offsite.run("fetch", NEWER).status == 0
        finally:
            subprocess.run(["umount", repository], check=True)


@needs_s3
class TestS3:
    @pytest.fixture
    def bucket(self, offsite: Offsite) -> Iterator[str]:
        """A bucket as the repository, with keys that can add but not delete."""
        with s3_server(offsite.home) as url:
            (offsite.home / "keys").write_text(
                f"[default]\naws_access_key_id = {WRITER_KEY}\naws_secret_access_key = {SECRET_KEY}\n"
            )
            offsite.environment |= {
                "RESTIC_REPOSITORY": f"s3:{url}/backups/prod",
                "AWS_SHARED_CREDENTIALS_FILE": str(offsite.home / "keys"),
            }
            yield url

    def test_keys_that_can_delete_locks_only_copy_and_check(self, offsite: Offsite, bucket: str) -> None:
        set_policy(bucket, "prod/locks/*")
        offsite.environment["OFFSITE_KEEP"] = ""
        outcome = offsite.run("copy")
        assert (outcome.status, outcome.errors) == (0, "")
        assert offsite.copies() == [OLD, NEWER]
        assert offsite.restic("list", "locks").stdout == ""
        deleted = offsite.restic("forget", "--keep-last", "1", "--group-by", "host")
        assert deleted.returncode != 0
        assert offsite.copies() == [OLD, NEWER]

    def test_keys_that_cannot_delete_fail_the_run_that_must(self, offsite: Offsite, bucket: str) -> None:
        set_policy(bucket, "prod/locks/*")
        offsite.environment["OFFSITE_KEEP"] = "--keep-last 1"
        outcome = offsite.run("copy")
        assert outcome.status == 1
        assert "deletion of old copies" in outcome.errors
        assert offsite.copies() == [OLD, NEWER]

    def test_a_bucket_that_refuses_the_keys_is_not_initialised(self, offsite: Offsite, bucket: str) -> None:
        outcome = offsite.run("copy")
        assert outcome.status == 1
        assert "Access Denied" in outcome.errors
        assert not any((offsite.home / "buckets" / "backups").iterdir())
        assert SECRET_KEY not in outcome.errors + outcome.output


@needs_sshd
class TestSftp:
    @pytest.fixture
    def host_key(self, offsite: Offsite) -> Iterator[str]:
        """A repository on an SSH server."""
        home = offsite.home
        with sftp_server(home) as (port, host_key):
            (home / "ssh").mkdir()
            shutil.copy(home / "key", home / "ssh" / "key")
            (home / "ssh" / "known_hosts").write_text(f"[127.0.0.1]:{port} {host_key}\n")
            offsite.environment |= {
                "RESTIC_REPOSITORY": f"sftp://{sftp_user()}@127.0.0.1:{port}/{home}/repository",
                "OFFSITE_SSH_DIR": str(home / "ssh"),
            }
            yield host_key

    @pytest.mark.usefixtures("host_key")
    def test_backups_are_copied_and_fetched(self, offsite: Offsite) -> None:
        before = files_of(offsite.backups / NEWER)
        outcome = offsite.run("copy")
        assert (outcome.status, outcome.errors) == (0, "")
        shutil.rmtree(offsite.backups / NEWER)
        assert offsite.run("fetch", NEWER).status == 0
        assert files_of(offsite.backups / NEWER) == before

    def test_a_server_with_another_host_key_is_refused(self, offsite: Offsite, host_key: str) -> None:
        known, other = offsite.home / "ssh" / "known_hosts", (offsite.home / "other.pub").read_text().split()
        known.write_text(known.read_text().replace(host_key, " ".join(other[:2])))
        outcome = offsite.run("copy")
        assert outcome.status == 1
        assert NO_SESSION in outcome.errors
        assert not (offsite.home / "repository").exists()

    @pytest.mark.usefixtures("host_key")
    def test_a_server_that_refuses_the_key_is_not_initialised(self, offsite: Offsite) -> None:
        shutil.copy(offsite.home / "other", offsite.home / "ssh" / "key")
        outcome = offsite.run("copy")
        assert outcome.status == 1
        assert NO_SESSION in outcome.errors
        assert not (offsite.home / "repository").exists()

    @pytest.mark.usefixtures("host_key")
    def test_a_server_that_is_away_fails_the_run_and_the_next_one_catches_up(self, offsite: Offsite) -> None:
        assert offsite.run("copy").status == 0
        offsite.write_backup(NEWEST)
        present = offsite.environment["RESTIC_REPOSITORY"]
        offsite.environment["RESTIC_REPOSITORY"] = "sftp://pti@127.0.0.1:1//srv/pti"
        outcome = offsite.run("copy")
        assert outcome.status == 1
        assert NO_SESSION in outcome.errors
        offsite.environment["RESTIC_REPOSITORY"] = present
        assert offsite.run("copy").status == 0
        assert offsite.copies() == [OLD, NEWER, NEWEST]


class TestResults:
    @pytest.fixture
    def received(self, offsite: Offsite) -> Iterator[list[dict[str, float]]]:
        """The gauges of each result that the script has sent."""
        results: list[dict[str, float]] = []

        class Receiver(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body: Any = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                [resource] = body["resourceMetrics"]
                [scope] = resource["scopeMetrics"]
                results.append({one["name"]: one["gauge"]["dataPoints"][0]["asDouble"] for one in scope["metrics"]})
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        server = HTTPServer(("127.0.0.1", 0), Receiver)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        offsite.environment["OFFSITE_METRICS_URL"] = f"http://127.0.0.1:{server.server_port}/api/v1/otlp/v1/metrics"
        yield results
        server.shutdown()
        server.server_close()

    def test_a_success_is_sent_with_the_time_of_the_newest_copy(
        self, offsite: Offsite, received: list[dict[str, float]]
    ) -> None:
        assert offsite.run("copy").status == 0
        copied = 1795833000  # 2026-11-28 02:30:00 UTC
        assert received == [{"pti_offsite_run_failed": 0, "pti_offsite_newest_copy_timestamp_seconds": copied}]

    def test_a_failure_is_sent(self, offsite: Offsite, received: list[dict[str, float]]) -> None:
        (offsite.backups / OLD / "globals.sql").unlink()
        assert offsite.run("copy").status == 1
        assert received == [{"pti_offsite_run_failed": 1}]

    def test_a_result_that_cannot_be_sent_is_reported_and_does_not_fail_the_run(self, offsite: Offsite) -> None:
        offsite.environment["OFFSITE_METRICS_URL"] = "http://127.0.0.1:1/"
        outcome = offsite.run("copy")
        assert outcome.status == 0
        assert "the result could not be sent" in outcome.errors
