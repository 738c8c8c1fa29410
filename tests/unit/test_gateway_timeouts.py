"""The timeouts of a request, from the edge to the database."""

from __future__ import annotations

import ast
import re
from typing import Any

from components.gateway import timeouts
from settings.catalog import SERVICES
from tests.unit.conftest import FULL_DOCKER
from tests.unit.paths import ROOT
from tests.unit.platform_recording import RecordPlatform
from tests.unit.test_gateway import server, upstreams

SERVICE_RESPONSE_S, STATEMENT_S = 25, 20
"""Times in which a service answers (docs/service-contract.md), and PostgreSQL runs a statement of it."""


def test_every_hop_waits_longer_than_the_next_may_take() -> None:
    assert timeouts.EDGE_RESPONSE_S > timeouts.KONG_RESPONSE_S > SERVICE_RESPONSE_S > STATEMENT_S > 0


def test_the_edge_waits_as_long_as_kong_may_take() -> None:
    """A connection is lost at the end of the time for retries, and Kong waits for the second attempt."""
    retried = timeouts.RETRY_WITHIN_S + timeouts.CONNECT_TIMEOUT_S + timeouts.KONG_RESPONSE_S
    assert retried < timeouts.EDGE_RESPONSE_S


def test_a_request_is_never_retried_after_a_timeout() -> None:
    assert timeouts.KONG_RESPONSE_S > timeouts.RETRY_WITHIN_S


def test_the_edge_times_out_a_slow_client_before_kong_does(record_platform: RecordPlatform) -> None:
    platform = record_platform(FULL_DOCKER)
    nginx, environment = platform.files["nginx/configuration"]["nginx.conf"], platform.workloads["kong"].environment
    for name in ("client_header_timeout", "client_body_timeout", "send_timeout"):
        (edge,) = re.findall(rf"    {name} (\d+)s;", nginx)
        assert int(str(environment[f"KONG_NGINX_PROXY_{name.upper()}"]).rstrip("s")) > int(edge)


def test_kong_is_configured_with_the_timeouts(record_platform: RecordPlatform) -> None:
    found = upstreams(record_platform(FULL_DOCKER))
    assert len(found) == len(SERVICES)
    for one in found.values():
        assert one["connect_timeout"] == timeouts.CONNECT_TIMEOUT_S * 1000
        assert one["read_timeout"] == one["write_timeout"] == timeouts.KONG_RESPONSE_S * 1000
        assert one["retries"] == timeouts.RETRIES
    environment = record_platform(FULL_DOCKER).workloads["kong"].environment
    assert environment["KONG_NGINX_PROXY_PROXY_NEXT_UPSTREAM_TIMEOUT"] == f"{timeouts.RETRY_WITHIN_S}s"


def test_nginx_is_configured_with_the_timeouts(record_platform: RecordPlatform) -> None:
    api = server(record_platform(FULL_DOCKER), "api.pti-calendar.localhost")
    found = {name: int(value) for name, value in re.findall(r"proxy_(\w+_timeout) (\d+)s;", api)}
    assert found == {
        "connect_timeout": timeouts.CONNECT_TIMEOUT_S,
        "send_timeout": timeouts.EDGE_RESPONSE_S,
        "read_timeout": timeouts.EDGE_RESPONSE_S,
        "next_upstream_timeout": timeouts.RETRY_WITHIN_S,
    }


def test_the_services_role_has_the_statement_timeout() -> None:
    text = (ROOT / "assets/postgres/database.sql").read_text()
    role = text[text.index("\\set role :app\n") :]
    role = role[: role.index("\\ir role.sql")]
    found = dict(re.findall(r"\b(statement_timeout|lock_timeout)=(\d+)s\b", role))
    assert int(found["statement_timeout"]) == STATEMENT_S
    assert int(found["lock_timeout"]) < STATEMENT_S


def test_the_reference_service_has_shorter_timeouts() -> None:
    # Parse the file instead of importing it, because its requirements aren't installed here.
    found: dict[str, Any] = {}
    for one in ast.parse((ROOT / "examples/reference_service/database.py").read_text()).body:
        if isinstance(one, ast.Assign) and isinstance(one.value, ast.Constant):
            found |= {target.id: one.value.value for target in one.targets if isinstance(target, ast.Name)}
    assert found["STATEMENT_MS"] <= STATEMENT_S * 1000
    assert found["POOL_TIMEOUT_S"] * 1000 + found["STATEMENT_MS"] < SERVICE_RESPONSE_S * 1000
