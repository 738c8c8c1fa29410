"""A separate Docker engine for one test, which may stop and start it, in its own network namespace."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.engine.waiting import until

COMMANDS = ("dockerd", "ip", "nsenter", "unshare")


def why_unavailable() -> str | None:
    """Return why no separate engine can run, or None if it can."""
    if os.geteuid():
        return "an engine of the test's own needs root"
    missing = [command for command in COMMANDS if shutil.which(command) is None]
    return f"missing commands: {', '.join(missing)}" if missing else None


class OwnEngine:
    """The engine.

    Args:
        folder: directory for its data, on a file system that supports overlay mounts.
        namespace: its network namespace.
    """

    def __init__(self, folder: Path, namespace: str) -> None:
        self._folder = folder
        self._namespace = namespace
        self._process: subprocess.Popen[bytes] | None = None
        self.address = f"unix://{folder / 'engine.sock'}"

    def start(self) -> None:
        """Start the engine and wait until it responds."""
        places = {"--data-root": "data", "--exec-root": "exec", "--pidfile": "engine.pid"}
        options = [word for option, place in places.items() for word in (option, str(self._folder / place))]
        # A killed engine leaves these files, with which the next one refuses to start.
        for left in ("engine.pid", "exec/containerd/containerd.pid"):
            (self._folder / left).unlink(missing_ok=True)
        # Engines that share /etc/docker/key.json have the same id.
        own_settings = self._folder / "etc"
        own_settings.mkdir(exist_ok=True)
        Path("/etc/docker").mkdir(exist_ok=True)
        in_namespaces = ["nsenter", f"--net=/run/netns/{self._namespace}", "unshare", "--mount", "sh", "-c"]
        start = 'mount --bind "$0" /etc/docker && exec dockerd "$@"'
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*in_namespaces, start, str(own_settings), "--host", self.address, *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        until("the engine responds", lambda: self._run("version").returncode == 0)

    def stop(self) -> None:
        """Stop the engine as a machine's shutdown does: containers are stopped, too."""
        assert self._process
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(120)

    def load(self, image: str) -> None:
        """Load an image from the machine's engine into it."""
        with subprocess.Popen(["docker", "save", image], stdout=subprocess.PIPE) as saved:
            subprocess.run(["docker", "--host", self.address, "load"], stdin=saved.stdout, check=True)

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(["docker", "--host", self.address, *arguments], capture_output=True)


@contextmanager
def own_engine() -> Iterator[OwnEngine]:
    """Run an engine for the duration of the context; remove it with everything it contains afterwards."""
    name = f"pti-test-{secrets.token_hex(3)}"
    folder = Path("/var/lib") / name
    folder.mkdir()
    engine = OwnEngine(folder, name)
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        subprocess.run(["ip", "netns", "exec", name, "ip", "link", "set", "lo", "up"], check=True)
        engine.start()
        try:
            yield engine
        finally:
            engine.stop()
    finally:
        subprocess.run(["ip", "netns", "delete", name], check=True)
        shutil.rmtree(folder)
