"""Real repositories for the tests of the off-site copies: restic with a directory, an S3 server and an SFTP server.

The S3 server is versitygw, which implements bucket policies, and the SFTP server is OpenSSH's. This command builds what
the machine lacks from Go modules (some minutes, once):

    python -m tests.artifacts.offsite_repositories fetch
"""

from __future__ import annotations

import getpass
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from testbed.images import downloads
from testbed.images.recipes import RESTIC
from tests.ports import free_port

S3_SERVER = downloads.GoModule(module="github.com/versity/versitygw", version="v1.8.0", package="./cmd/versitygw")
SSHD = "/usr/sbin/sshd"
SCRIPT = Path(__file__).resolve().parents[2] / "assets" / "offsite" / "offsite.sh"
DEADLINE_S = 120.0
PASSWORD, ROOT_KEY, WRITER_KEY, SECRET_KEY = "correct horse", "rootkey", "writer", "battery staple"


def program(download: downloads.GoModule) -> Path | None:
    """Return a program that `fetch` has built; None if it hasn't."""
    folder = downloads.CACHE / "downloads" / hashlib.sha256(repr(download).encode()).hexdigest()[:16]
    return next(folder.iterdir()) if folder.exists() else None


needs_restic = pytest.mark.skipif(
    program(RESTIC) is None or shutil.which("jq") is None,
    reason="needs restic and jq: python -m tests.artifacts.offsite_repositories fetch",
)
needs_s3 = pytest.mark.skipif(program(S3_SERVER) is None, reason="needs versitygw, which `fetch` builds")
needs_sshd = pytest.mark.skipif(not Path(SSHD).exists(), reason="needs openssh-server")


@dataclass
class Outcome:
    """How a run of the script ended."""

    status: int
    output: str
    errors: str


@dataclass
class Offsite:
    """The script with its environment; change `environment` between runs."""

    home: Path
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def backups(self) -> Path:
        """Return the directory of the backups."""
        return self.home / "backups"

    def run(self, *arguments: str, timeout_s: float = DEADLINE_S) -> Outcome:
        """Run the script to its end."""
        process = self.start(*arguments)
        output, errors = process.communicate(timeout=timeout_s)
        return Outcome(process.returncode, output, errors)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start the script, as the leader of a process group."""
        return subprocess.Popen(
            ["sh", str(SCRIPT), *arguments],
            env=self.environment,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def restic(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run restic itself, with the script's environment."""
        return subprocess.run(
            ["restic", "--no-cache", *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=DEADLINE_S,
        )

    def copies(self) -> list[str]:
        """Return the names of the copies."""
        outcome = self.run("list", "--json")
        assert outcome.status == 0, outcome
        return [one["name"] for one in json.loads(outcome.output)]

    def write_backup(self, name: str, size: int = 1000) -> Path:
        """Write a backup as backup.sh does, with random content."""
        folder = self.backups / name
        folder.mkdir(parents=True)
        files = {"globals.sql": b"-- roles\n", "pti_rdv.dump": os.urandom(size)}
        entries = {}
        for file, content in files.items():
            (folder / file).write_bytes(content)
            digest = hashlib.sha256(content).hexdigest()
            entries[file] = f'"file": "{file}", "bytes": {len(content)}, "sha256": "{digest}"'
        manifest = (
            f'{{\n  "format": 1,\n  "globals": {{{entries["globals.sql"]}}},\n  "databases": [\n'
            f'    {{"name": "pti_rdv", {entries["pti_rdv.dump"]}, "time": "t", "rows": {{\n    }}}}\n  ]\n}}\n'
        )
        (folder / "manifest.json").write_text(manifest)
        digest = hashlib.sha256(manifest.encode()).hexdigest()
        (folder / "manifest.json.sha256").write_text(f"{digest}  manifest.json\n")
        return folder


def offsite_in(home: Path) -> Offsite:
    """Return the script with a repository in a directory."""
    restic = program(RESTIC)
    assert restic
    home.joinpath("bin").mkdir()
    home.joinpath("bin", "restic").symlink_to(restic)
    (home / "password").write_text(PASSWORD)
    (home / "backups").mkdir()
    environment = {
        "PATH": f"{home / 'bin'}:{os.environ['PATH']}",
        "TMPDIR": str(home),
        "RESTIC_REPOSITORY": str(home / "repository"),
        "RESTIC_PASSWORD_FILE": str(home / "password"),
        "BACKUP_DIR": str(home / "backups"),
        "OFFSITE_STACK": "dev",
        "OFFSITE_KEEP": "--keep-last 3 --keep-within 2d",
        "OFFSITE_CHECK_PARTS": "1",
        "OFFSITE_LOCK_WAIT_S": "0",
    }
    return Offsite(home, environment)


@contextmanager
def s3_server(home: Path) -> Iterator[str]:
    """Run an S3 server with the bucket `backups`, whose policy lets `WRITER_KEY` add but not delete, except locks.
    Yield its URL."""
    server = program(S3_SERVER)
    assert server
    for name in ("buckets", "iam"):
        (home / name).mkdir()
    account = {"access": WRITER_KEY, "secret": SECRET_KEY, "role": "user", "userID": 0, "groupID": 0}
    (home / "iam" / "users.json").write_text(json.dumps({"accessAccounts": {WRITER_KEY: account}}))
    address = f"127.0.0.1:{free_port()}"
    options = ["--port", address, "--access", ROOT_KEY, "--secret", SECRET_KEY, "--iam-dir", str(home / "iam")]
    process = subprocess.Popen(
        [server, *options, "posix", str(home / "buckets")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        url = f"http://{address}"
        deadline = time.monotonic() + 20
        while _s3_request("PUT", f"{url}/backups") != 200:
            assert time.monotonic() < deadline, "the S3 server doesn't start"
            time.sleep(0.1)
        yield url
    finally:
        process.kill()
        process.wait()


def set_policy(url: str, *deletable: str) -> None:
    """Let the writer read and add all objects, and delete those that match a pattern."""
    principal = {"Effect": "Allow", "Principal": {"AWS": [WRITER_KEY]}}
    objects, bucket = "arn:aws:s3:::backups/", "arn:aws:s3:::backups"
    statements = [
        {**principal, "Action": ["s3:GetObject", "s3:PutObject"], "Resource": [f"{objects}*"]},
        {**principal, "Action": ["s3:ListBucket", "s3:GetBucketLocation"], "Resource": [bucket]},
        *({**principal, "Action": ["s3:DeleteObject"], "Resource": [f"{objects}{one}"]} for one in deletable),
    ]
    policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
    assert _s3_request("PUT", f"{url}/backups?policy=", policy) == 204


def _s3_request(method: str, url: str, body: str = "") -> int:
    """Send a request as the owner of the bucket. Return the status; 0 if there is no connection."""
    signed = ["--aws-sigv4", "aws:amz:us-east-1:s3", "--user", f"{ROOT_KEY}:{SECRET_KEY}"]
    header = ["--header", "x-amz-content-sha256: UNSIGNED-PAYLOAD"]
    shown = ["--silent", "--output", "/dev/null", "--write-out", "%{http_code}", "--max-time", "10"]
    done = subprocess.run(
        ["curl", *signed, *header, *shown, "--request", method, "--data-binary", body, url],
        capture_output=True,
        text=True,
        check=False,
    )
    return int(done.stdout or 0)


@contextmanager
def sftp_server(home: Path, address: str = "127.0.0.1") -> Iterator[tuple[int, str]]:
    """Run an SSH server for this user. Yield its port, and its public key."""
    for name in ("host", "key", "other"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(home / name)], check=True)
    port = free_port()
    (home / "sshd_config").write_text(
        f"Port {port}\nListenAddress {address}\nHostKey {home / 'host'}\nPidFile none\nUsePAM no\nStrictModes no\n"
        f"PasswordAuthentication no\nPermitRootLogin yes\nAuthorizedKeysFile {home / 'key.pub'}\n"
        "Subsystem sftp internal-sftp\n"
    )
    Path("/run/sshd").mkdir(exist_ok=True)
    process = subprocess.Popen([SSHD, "-D", "-e", "-f", str(home / "sshd_config")], stderr=subprocess.DEVNULL)
    try:
        kind, key, *_ = (home / "host.pub").read_text().split()
        deadline = time.monotonic() + 10
        while subprocess.run(["ssh-keyscan", "-p", str(port), address], capture_output=True, check=False).stdout == b"":
            assert time.monotonic() < deadline, "the SSH server doesn't start"
            time.sleep(0.1)
        yield port, f"{kind} {key}"
    finally:
        process.kill()
        process.wait()


def sftp_user() -> str:
    """Return the user of this process, who may log in to the server."""
    return getpass.getuser()


if __name__ == "__main__" and sys.argv[1:] == ["fetch"]:
    for wanted in (RESTIC, S3_SERVER):
        wanted.fetch()
