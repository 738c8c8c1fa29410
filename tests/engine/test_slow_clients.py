"""The edge under clients that hold connections or flood it: all other users' requests succeed.

nginx is real, with the configuration that the program renders; it runs with the stand-in for Kong and the service.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.gateway import nginx
from settings.edge import NginxSettings
from tests.artifacts.test_kong_behaviour import program, service, start_kong
from tests.e2e.self_signed import self_signed
from tests.engine.docker_engine import docker
from tests.engine.waiting import until
from tests.failures import FailureRecord
from tests.gateway import rows
from tests.gateway.echo import Echo
from tests.gateway.rapid_reset import rapid_reset
from tests.gateway.slow_clients import slow_clients
from tests.ports import free_ports
from tests.unit.platform_recording import record_platform_once

__all__ = ["program", "service"]

HOST = "api.pti.test"
"""The host name in the rows' configuration."""

ATTACKER = "127.0.0.2"
ATTACKED_PATH = "/auth/login/attacked"


@pytest.fixture
def edge(program: Path, service: int, tmp_path: Path) -> Iterator[tuple[rows.Gateway, int]]:
    """Run the edge with the memory and scratch space that it has in the platform, and return its port."""
    if not docker("image", "ls", "--quiet", NginxSettings().image).strip():
        pytest.skip(f"the image {NginxSettings().image} is missing")
    platform = record_platform_once(rows.load()[0])
    workload = platform.workloads["nginx"]
    http, https, status = free_ports(3)
    with start_kong(program, service, tmp_path) as kong:
        upstream = kong.gateway.address.removeprefix("http://")
        for name, text in platform.files["nginx/configuration"].items():
            text = text.replace("set $upstream kong:8000", f"set $upstream {upstream}")
            for before, port in (
                (nginx.HTTP_PORT, http),
                (nginx.HTTPS_PORT, https),
                (nginx.STATUS_ENDPOINT.port, status),
            ):
                text = text.replace(f"listen {before}", f"listen 127.0.0.1:{port}")
            (tmp_path / name).write_text(text)
        self_signed(tmp_path / "tls", f"DNS:{HOST}")
        tmp_path.chmod(0o755)
        name = f"x-kong-slow-{secrets.token_hex(3)}"
        scratch = f"/tmp:size={workload.scratch[0].size_mib}m,uid={nginx.UID}"  # noqa: S108 - in the container
        docker(
            *("run", "--detach", "--name", name, "--network", "host", "--read-only", "--tmpfs", scratch),
            *("--memory", f"{workload.memory_mib}m", "--user", str(nginx.UID), "--entrypoint", "sh"),
            *(
                "--volume",
                f"{tmp_path}:/configuration:ro",
                "--volume",
                f"{tmp_path / 'tls'}:{nginx.CERTIFICATE_DIRECTORY}:ro",
            ),
            *(workload.image, "/configuration/start.sh", nginx.CERTIFICATE_DIRECTORY),
        )
        try:
            gateway = rows.Gateway(f"https://127.0.0.1:{https}", kong.gateway.key, {"Host": HOST}, verify=False)
            until("nginx responds", lambda: answers(gateway))
            yield gateway, https
        finally:
            docker("rm", "--force", "--volumes", name)


def answers(gateway: rows.Gateway) -> bool:
    """Return whether the edge responds."""
    try:
        return gateway.ask({"path": "/"}).status == 404
    except OSError:
        return False


def test_slow_clients_do_not_block_others(edge: tuple[rows.Gateway, int], failure_record: FailureRecord) -> None:
    failure_record.begin("A client holds 350 slow or idle connections at the edge", on="Docker", effect="nothing")
    gateway, port = edge
    request = {"method": "POST", "path": "/api/user/me", "token": "valid"}
    with slow_clients(("127.0.0.1", port), HOST):
        found = [gateway.ask({**request, "body_bytes": size}).status for size in [20_000, 1 << 20] * 25]
    assert found == [200] * 50
    failure_record.set_lost("nothing: 50 of 50 concurrent requests succeed")


def test_streams_that_are_opened_and_reset_do_not_block_others(
    edge: tuple[rows.Gateway, int], failure_record: FailureRecord
) -> None:
    failure_record.begin(
        "A client opens and resets HTTP/2 streams as fast as possible (CVE-2023-44487)", on="Docker", effect="nothing"
    )
    gateway, port = edge
    request = {"method": "POST", "path": "/api/user/me", "token": "valid", "body_bytes": 20_000}
    before = attacked()
    with rapid_reset(("127.0.0.1", port), HOST, f"/api/user{ATTACKED_PATH}", ATTACKER) as attack:
        until("the attack is running", lambda: attack.streams >= 20_000)
        found = [gateway.ask(request).status for _ in range(50)]
    assert found == [200] * 50
    assert attacked() > before, "nginx took the attacker's frames for requests"
    failure_record.set_lost("nothing: 50 of 50 concurrent requests succeed")


def attacked() -> int:
    """Return how many of the attacker's requests have reached the service."""
    return sum(path.endswith(ATTACKED_PATH) for _, path in list(Echo.seen))
