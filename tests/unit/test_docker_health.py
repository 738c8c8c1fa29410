"""The health check's script, run by a real shell with the commands that an image has."""

from __future__ import annotations

import http.server
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from backends.docker.health import PROBES_SCRIPT, TASK_CHECK_SCRIPT, TASK_SUCCEEDED_FILE, health_check
from tests.unit.kubernetes_recording import port, task, workload
from workloads import Check, Exec, HttpGet, Liveness, Probe, TcpConnect

KILL, LOG, SHARED_MEMORY = "kill -KILL -1", "/proc/1/fd/2", "/dev/shm"  # noqa: S108 - replaced
ESSENTIAL = ("sh", "timeout", "cat", "rm")
READY = Exec(command=("true",))


class Image:
    """A stand-in for an image: its commands, the signals that its processes get, and its container's log."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._programs = folder, folder / "bin"
        self._programs.mkdir()
        self.add(*ESSENTIAL)
        self.add_script("sleep", "")

    def add(self, *commands: str) -> None:
        """Add commands of this machine."""
        for command in commands:
            program = shutil.which(command)
            assert program is not None
            (self._programs / command).symlink_to(program)

    def add_script(self, command: str, script: str) -> None:
        """Add a command with this shell script."""
        (self._programs / command).write_text(f"#!/bin/sh\n{script}\n")
        (self._programs / command).chmod(0o755)

    def exit_code(self, script: str, *arguments: str) -> int:
        """Run a script of the health check; return its exit code."""
        command = [str(self._programs / "sh"), "-c", script, "check", *arguments]
        return subprocess.run(command, env={"PATH": str(self._programs)}, timeout=30, check=False).returncode

    def checked(self, liveness: Check, times: int = 1, *, startup_s: int = 300) -> int:
        """Run the health check; return the last exit code."""
        number = liveness.port if isinstance(liveness, TcpConnect | HttpGet) else 80
        alive = Liveness(check=liveness, startup_s=startup_s)
        check = health_check(workload(ports=(port(number),), readiness=Probe(check=READY), liveness=alive))
        assert check is not None
        assert isinstance(check.tests, Sequence)
        for _ in range(times):
            done = subprocess.run(
                [str(self._programs / "sh"), *(self._contained(str(one)) for one in check.tests[2:])],
                env={"PATH": str(self._programs)},
                timeout=30,
                check=False,
            )
        return done.returncode

    @property
    def is_killed(self) -> bool:
        return (self._folder / "killed").exists()

    @property
    def log(self) -> list[str]:
        file = self._folder / "log"
        return file.read_text().splitlines() if file.exists() else []

    def _contained(self, script: str) -> str:
        if "liveness-failures" not in script:
            return script
        assert script == PROBES_SCRIPT
        for text, replacement in (
            (KILL, f": > {self._folder}/killed"),
            (f"> {LOG}", f">> {self._folder}/log"),
            (SHARED_MEMORY, str(self._folder)),
        ):
            assert text in script
            script = script.replace(text, replacement)
        return script


@pytest.fixture
def image(tmp_path: Path) -> Image:
    if shutil.which("timeout") is None or not Path("/proc/uptime").exists():
        pytest.skip("this machine lacks 'timeout' or /proc, which every image has")
    return Image(tmp_path)


@pytest.fixture
def listening() -> Iterator[int]:
    """The port of a process that accepts connections."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def unused() -> int:
    """A port on which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        number: int = server.getsockname()[1]
    return number


@pytest.fixture
def page() -> Iterator[int]:
    """The port of an HTTP server whose pages exist if their path is `/live`."""

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/live" else 503)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def test_a_check_whose_command_is_not_in_the_image_restarts_nothing_and_is_reported_once(image: Image) -> None:
    assert image.checked(Exec(command=("no-such-command",)), times=2, startup_s=0) == 0
    assert not image.is_killed
    assert image.log == ["the liveness check can't be executed (exit code 127): no restart"]


def test_a_check_that_may_not_be_executed_restarts_nothing(image: Image, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("no program")
    image.checked(Exec(command=(str(tmp_path / "data"),)), times=2, startup_s=0)
    assert not image.is_killed
    assert "exit code 126" in "".join(image.log)


def test_a_check_that_fails_restarts_the_process(image: Image) -> None:
    image.add_script("alive", "exit 1")
    image.checked(Exec(command=("alive",)), startup_s=0)
    assert image.is_killed
    assert image.log == ["not alive 0 s after its start: killed for a restart"]


@pytest.mark.parametrize(
    "nc", [None, "echo \"nc: invalid option -- 'z'\" >&2; exit 1"], ids=["no nc", "an nc without -z"]
)
def test_a_port_is_checked_without_a_command_that_connects(
    image: Image, listening: int, unused: int, nc: str | None
) -> None:
    image.add("grep")
    if nc is not None:
        image.add_script("nc", nc)
    image.checked(TcpConnect(port=listening), times=2, startup_s=0)
    assert not image.is_killed
    image.checked(TcpConnect(port=unused), times=13)
    assert image.is_killed


def test_a_port_check_without_any_tool_restarts_nothing(image: Image, unused: int) -> None:
    image.checked(TcpConnect(port=unused), times=2, startup_s=0)
    assert not image.is_killed
    assert "exit code 127" in "".join(image.log)


@pytest.mark.parametrize("tool", [one for one in ("wget", "curl", "bash") if shutil.which(one)])
def test_an_http_check_of_a_dead_process_fails_with_any_single_tool(image: Image, page: int, tool: str) -> None:
    image.add(tool)
    assert image.checked(HttpGet(port=page, path="/live"), startup_s=0) == 0
    assert not image.is_killed
    image.checked(HttpGet(port=page, path="/dead"), times=13)
    assert image.is_killed


def test_an_http_check_without_any_tool_restarts_nothing(image: Image, page: int) -> None:
    image.checked(HttpGet(port=page, path="/dead"), times=2, startup_s=0)
    assert not image.is_killed
    assert "exit code 127" in "".join(image.log)


def test_while_both_probes_succeed_a_check_first_waits(image: Image, tmp_path: Path) -> None:
    image.add_script("sleep", f'echo "$1" >> {tmp_path}/waits')
    image.add_script("alive", f"[ ! -e {tmp_path}/hung ]")
    waits, alive = tmp_path / "waits", Exec(command=("alive",))
    image.checked(alive)
    assert not waits.exists()
    image.checked(alive)
    assert waits.read_text() == "5\n"
    (tmp_path / "hung").touch()
    image.checked(alive, times=3)
    assert waits.read_text() == "5\n" * 2
    (tmp_path / "hung").unlink()
    image.checked(alive, times=2)
    assert waits.read_text() == "5\n" * 3


def test_a_finished_task_is_reported_immediately_and_then_checked_once_a_minute(image: Image, tmp_path: Path) -> None:
    check = health_check(task())
    assert check is not None
    assert check.tests == ["CMD", "sh", "-c", TASK_CHECK_SCRIPT, "check", "60"]
    # The engine reports 70 s in this form. With another form, each refresh would show a change.
    assert check.timeout == "1m10s"
    succeeded = tmp_path / "succeeded"
    image.add_script("sleep", f'echo "$1" > {tmp_path}/slept')
    script = TASK_CHECK_SCRIPT.replace(TASK_SUCCEEDED_FILE, str(succeeded))
    assert image.exit_code(script, "60") == 1
    succeeded.touch()
    assert image.exit_code(script, "60") == 0
    assert not (tmp_path / "slept").exists()
    assert image.exit_code(script, "60") == 0
    assert (tmp_path / "slept").read_text() == "60\n"
