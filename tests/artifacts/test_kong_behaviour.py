"""The stand-in for Kong behaves as observed with the real Kong, with the configuration that the program renders."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from tests.engine.waiting import until
from tests.full_run import only_in_full_runs
from tests.gateway import echo, rows
from tests.gateway.scenario import UNUSED_PORT, scenario
from tests.ports import free_ports
from tests.unit.paths import ROOT

SOURCE = ROOT / "testbed/images/kong/src"
CONFIGURATION, ROWS = rows.load()
CLIENT = {"X-Forwarded-For": "203.0.113.9"}

pytestmark = only_in_full_runs


@dataclass(frozen=True)
class RunningKong:
    """The stand-in and its addresses."""

    gateway: rows.Gateway
    admin_port: int


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled stand-in."""
    if not (go := shutil.which("go") or shutil.which("/usr/local/go/bin/go")):
        pytest.skip("Go is missing, which compiles the stand-in for Kong")
    path = tmp_path_factory.mktemp("kong") / "kong"
    subprocess.run([go, "build", "-o", str(path), "."], cwd=SOURCE, check=True, timeout=600)
    return path


@pytest.fixture(scope="module")
def service() -> Iterator[int]:
    """The port of the service behind the stand-in."""
    with echo.running_echo() as port:
        yield port


@pytest.fixture(scope="module")
def running_kong(program: Path, service: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningKong]:
    """The stand-in with the rows' configuration."""
    with start_kong(program, service, tmp_path_factory.mktemp("rows")) as it:
        yield it


@contextmanager
def start_kong(
    program: Path, service: int, folder: Path, configuration: Mapping[str, Any] | None = None
) -> Iterator[RunningKong]:
    """Run the stand-in for the duration of the context."""
    proxy, admin = free_ports(2)
    made = scenario(service, proxy, configuration=configuration, admin_port=admin, redis_port=UNUSED_PORT)
    with (folder / "log").open("w+") as log:
        process = subprocess.Popen(
            [str(program), "start"], env={**os.environ, **made.write(folder)}, stdout=log, stderr=log
        )
        try:
            gateway = rows.Gateway(f"http://127.0.0.1:{proxy}", made.key)
            until("the gateway responds", lambda: is_responding(gateway, process, folder / "log"))
            yield RunningKong(gateway, admin)
        finally:
            process.terminate()
            process.wait(timeout=30)


def is_responding(gateway: rows.Gateway, process: subprocess.Popen[bytes], log: Path) -> bool:
    """Return whether the stand-in responds; fail if it has exited."""
    assert process.poll() is None, log.read_text()
    try:
        return gateway.ask({"path": "/"}).status == 404
    except ConnectionError:
        return False


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_request_gets_kongs_response(running_kong: RunningKong, row: rows.Row) -> None:
    assert rows.differences(row, running_kong.gateway.ask(row.request)) == []


def test_ten_concurrent_bodies_of_the_largest_size_pass(running_kong: RunningKong) -> None:
    largest = {"method": "POST", "path": "/api/user/me", "token": "valid", "body_bytes": 10 << 20}
    with ThreadPoolExecutor(10) as pool:
        found = list(pool.map(running_kong.gateway.ask, [largest, largest | {"chunked": True}] * 5))
    assert [(one.status, one.document["body_bytes"]) for one in found] == [(200, 10 << 20)] * 10


def test_a_large_response_arrives_completely(running_kong: RunningKong) -> None:
    answer = running_kong.gateway.ask({"path": "/api/user/me?mib=100", "token": "valid"})
    assert (answer.status, len(answer.body)) == (200, 100 << 20)


def test_requests_without_a_token_and_without_redis_are_limited(program: Path, service: int, tmp_path: Path) -> None:
    few = {**CONFIGURATION, "gateway": {**CONFIGURATION["gateway"], "rateLimit": {"perMinute": 5}}}
    with start_kong(program, service, tmp_path, few) as it:
        request = {"path": "/api/user/me", "headers": {**CLIENT, "Origin": "https://app.pti.test"}}
        found = [it.gateway.ask(request) for _ in range(15)]
        other = it.gateway.ask({"path": "/api/user/me", "headers": {"X-Forwarded-For": "203.0.113.10"}})
    # Twice the limit plus one, because the burst's second may have returned one more token.
    assert [one.status for one in found[:11]] == [401] * 11
    assert found[-1].status == 429
    assert found[-1].headers["access-control-allow-origin"] == "https://app.pti.test"
    assert other.status == 401


ADMIN_REQUESTS: list[tuple[str, str, dict[str, str], int]] = [
    ("GET", "/", {}, 200),
    ("GET", "/status", {}, 200),
    ("GET", "/services", {}, 200),
    ("HEAD", "/services", {}, 200),
    ("GET", "/routes", {}, 200),
    ("POST", "/config", {}, 405),
    ("POST", "/config?config=a", {}, 405),
    ("POST", "/services", {}, 405),
    ("PATCH", "/services/user", {}, 405),
    ("DELETE", "/services/user", {}, 405),
    ("OPTIONS", "/services", {}, 405),
    ("GET", "/config", {}, 403),
    ("GET", "//config", {}, 403),
    ("GET", "/services/../config", {}, 403),
    ("GET", "/plugins", {}, 403),
    ("GET", "/services/user/plugins", {}, 403),
    ("GET", "/consumers/pti-calendar/jwt", {}, 403),
    ("GET", "/services", {"Origin": "http://evil.test"}, 403),
    ("GET", "/services", {"Host": "evil.test"}, 403),
    ("GET", "/services", {"Host": "kong:8001"}, 403),
]


@pytest.mark.parametrize(("method", "path", "headers", "status"), ADMIN_REQUESTS)
def test_the_admin_api_shows_no_secrets_and_refuses_web_pages(
    running_kong: RunningKong, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    connection = HTTPConnection("127.0.0.1", running_kong.admin_port, timeout=30)
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    assert answer.status == status
    assert running_kong.gateway.key not in answer.read().decode()
    connection.close()


def test_redis_over_tls_needs_a_host_name(program: Path, tmp_path: Path) -> None:
    made = scenario(1, 1)
    for plugin in made.document["plugins"]:
        if plugin["name"] == "rate-limiting":
            plugin["config"]["redis"] |= {"ssl": True, "server_name": "10.0.0.7"}
    file = tmp_path / "kong.json"
    file.write_text(json.dumps(made.document))
    found = subprocess.run(
        [str(program), "config", "parse", str(file)], capture_output=True, text=True, check=False, timeout=60
    )
    assert found.returncode == 1
    assert "in 'server_name': must not be an IP" in found.stderr
