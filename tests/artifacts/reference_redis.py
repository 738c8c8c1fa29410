"""A real Redis with a password, if there is one: named by `PTI_REDIS_SERVER`, on PATH, or in the cache of
`.ci/provide`."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from testbed.cache import CACHE
from tests.ports import free_port

PASSWORD = "redis's own: not simple"
DEADLINE_S = 20.0


def program() -> str | None:
    """Return the server's program, or None if there is none."""
    kept = CACHE / "bin"
    return os.environ.get("PTI_REDIS_SERVER") or shutil.which("redis-server", path=f"{os.environ['PATH']}:{kept}")


@contextmanager
def running_redis(server: str, prefix: Sequence[str] = ()) -> Iterator[int]:
    """Run a Redis without persistence, and return its port. `prefix` is a command that runs the server's."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="pti-redis-") as home:
        settings = (f"port {port}", "bind 127.0.0.1", 'save ""', f"dir {home}", f'requirepass "{PASSWORD}"')
        process = subprocess.Popen([*prefix, server, "-"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
        try:
            assert process.stdin is not None
            process.stdin.write("\n".join(settings))
            process.stdin.close()
            _wait_until_listening(port, process)
            yield port
        finally:
            process.kill()
            process.wait()


def _wait_until_listening(port: int, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while True:
        if process.poll() is not None:
            raise RuntimeError(f"redis-server stopped with {process.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
