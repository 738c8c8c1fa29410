"""A real Redis that runs the stack's own files on its own volume, as in the container."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from components.stores.redis import CONFIGURATION_DIRECTORY, DATA_FOLDER, DATA_MOUNT
from testbed import ext4
from tests.artifacts.reference_redis import program
from tests.ports import free_port
from tests.unit.platform_recording import record_platform_once

DEADLINE_S = 60.0
USER = 65534
"""The server's user if the tests run as root."""


def until(what: str, condition: Callable[[], bool]) -> None:
    """Wait for a condition; fail with its name at the deadline."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {DEADLINE_S:.0f} s: {what}")
        time.sleep(0.05)


@contextmanager
def new_ext4(size_mib: int) -> Iterator[Path]:
    """Create an ext4 file system with the owner that `fsGroup` sets, and return its mount point."""
    if reason := ext4.why_unavailable():
        pytest.skip(reason)
    home = Path(tempfile.mkdtemp(prefix="pti-ext4-"))
    home.chmod(0o755)
    mount = home / "mount"
    try:
        ext4.mount(home / "image", mount, size_mib)
        try:
            os.chown(mount, 0, USER)
            mount.chmod(0o2775)
            yield mount
        finally:
            ext4.unmount(mount)
    finally:
        shutil.rmtree(home)


class RedisOnVolume:
    """The server on the volume at `mount`; `extra` lines are appended to its configuration."""

    def __init__(self, mount: Path, *, configuration: Mapping[str, int] | None = None, extra: str = "") -> None:
        server, client = program(), shutil.which("redis-cli")
        if server is None or client is None:
            pytest.skip("redis-server or redis-cli is missing: .ci/provide installs them")
        self.mount = mount
        self.data = mount / DATA_FOLDER
        self.home = Path(tempfile.mkdtemp(prefix="pti-redis-"))
        self.home.chmod(0o755)
        self.log = self.home / "log"
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        platform = record_platform_once({"credentials": "well-known", "redis": configuration or {}})
        self._workload = platform.workloads["redis"]
        for name, text in platform.files["redis/configuration"].items():
            (self.home / name).write_text(self._local_path(text))
        with (self.home / "redis.conf").open("a") as file:
            file.write(f"port {self._port}\n{extra}\n")
        programs = self.home / "programs"
        programs.mkdir()
        # The server's user may not be able to read the cache, which belongs to another user.
        (programs / "redis-server").symlink_to(Path(server).resolve())
        (programs / "redis-cli").write_text(f'#!/bin/sh\nexec {client} -p {self._port} "$@"\n')
        (programs / "redis-cli").chmod(0o755)
        self._environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"}

    def start(self) -> RedisOnVolume:
        """Start the server and wait until it serves."""
        self.launch()
        until("Redis serves", self._is_serving)
        return self

    def launch(self) -> subprocess.Popen[bytes]:
        """Start the server without waiting."""
        self._process = self._popen(self._workload.command, self.log.open("ab"))
        return self._process

    def start_refused(self) -> str:
        """Start the server, expect it to exit, and return its output."""
        process = self.launch()
        assert process.wait(DEADLINE_S) != 0
        return self.log.read_text()

    def readiness_check(self) -> tuple[int, str]:
        """Return exit status and output of the readiness check."""
        check = self._workload.readiness
        assert check is not None
        assert not isinstance(check.check, str)
        command = getattr(check.check, "command")  # noqa: B009 - Redis has a command for it
        done = self._popen(command, subprocess.PIPE)
        output, _ = done.communicate(timeout=DEADLINE_S)
        return done.returncode, output.decode()

    def command(self, *words: str) -> str:
        """Return the response to one command; an error is returned as text."""
        with socket.create_connection(("127.0.0.1", self._port), timeout=DEADLINE_S) as connection:
            stream = connection.makefile("rwb")
            stream.write(b"*%d\r\n" % len(words))
            for word in words:
                stream.write(b"$%d\r\n%s\r\n" % (len(word.encode()), word.encode()))
            stream.flush()
            line = stream.readline().decode().rstrip("\r\n")
            if line.startswith("$"):
                return "" if line == "$-1" else stream.read(int(line[1:]) + 2).decode()[:-2]
            if line.startswith("*"):
                values = []
                for _ in range(int(line[1:])):
                    values.append(stream.read(int(stream.readline()[1:]) + 2).decode()[:-2])
                return " ".join(values)
            return line

    def info(self, name: str) -> str:
        """Return one field of INFO."""
        fields = dict(line.split(":", 1) for line in self.command("INFO", "everything").splitlines() if ":" in line)
        return fields[name]

    def kill(self) -> None:
        """Kill the server, like the kernel when memory is exhausted."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """Stop the server as a container is stopped."""
        assert self._process is not None
        self._process.terminate()
        self._process.wait(DEADLINE_S)

    def close(self) -> None:
        """Remove everything except the volume."""
        if self._process is not None and self._process.poll() is None:
            self.kill()
        shutil.rmtree(self.home)

    def _is_serving(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log.read_text()
        with suppress(OSError):
            return self.readiness_check()[0] == 0
        return False

    def _local_path(self, text: str) -> str:
        """Map the container's paths to paths on this machine."""
        return text.replace(f"{DATA_MOUNT}/", f"{self.mount}/").replace(CONFIGURATION_DIRECTORY, str(self.home))

    def _popen(self, command: tuple[str, ...], output: object) -> subprocess.Popen[bytes]:
        here = [str(self.mount) if word == DATA_MOUNT else self._local_path(word) for word in command]
        identity = {"user": USER, "group": USER, "extra_groups": []} if os.geteuid() == 0 else {}
        return subprocess.Popen(  # type: ignore[call-overload, no-any-return]
            here, env=self._environment, stdout=output, stderr=subprocess.STDOUT, cwd="/", **identity
        )
