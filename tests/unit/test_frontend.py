"""What a front end requests: its port, the address of the API, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from settings.catalog import FRONTENDS, FrontendSpec
from tests.unit.conftest import FULL_DOCKER
from tests.unit.platform_recording import CLUSTER, RecordedPlatform, RecordPlatform
from workloads import Autoscaling, Health, HttpGet

each_frontend = pytest.mark.parametrize("frontend", FRONTENDS, ids=lambda frontend: frontend.name)


@pytest.fixture
def full(record_platform: RecordPlatform) -> RecordedPlatform:
    """A stack with all front ends."""
    return record_platform(FULL_DOCKER)


@each_frontend
def test_a_front_end_gets_its_port_its_name_and_the_api_url(full: RecordedPlatform, frontend: FrontendSpec) -> None:
    assert full.workloads[frontend.name].environment == {
        "PORT": str(frontend.port),
        "FRONTEND_NAME": frontend.name,
        "API_URL": "https://api.pti-calendar.localhost",
    }


@each_frontend
def test_a_front_end_has_no_secret_and_no_connections_and_only_the_gateway_publishes_it(
    full: RecordedPlatform, frontend: FrontendSpec
) -> None:
    workload = full.workloads[frontend.name]
    assert (workload.file_sets, workload.connects_to, workload.depends_on) == ((), (), ())
    assert [(port.number, port.publish) for port in workload.ports] == [(frontend.port, None)]
    assert workload.user == 101


@each_frontend
def test_a_front_end_is_probed_over_http(full: RecordedPlatform, frontend: FrontendSpec) -> None:
    workload = full.workloads[frontend.name]
    assert workload.readiness is not None
    assert workload.liveness is not None
    platform = HttpGet(port=frontend.port, path="/health")
    assert (workload.readiness.check, workload.liveness.check) == (platform, platform)
    assert workload.health == Health(port=frontend.port, path="/health", job="frontend")
    assert workload.metrics == ()


@pytest.mark.parametrize(
    ("gateway", "edge", "url"),
    [
        ({"domain": "pti-calendar.fr"}, {}, "https://api.pti-calendar.fr"),
        ({}, {"nginx": {"httpsPort": 8444}}, "https://api.pti-calendar.localhost:8444"),
    ],
)
def test_browsers_find_the_api_under_the_domain_and_port_of_the_gateway(
    record_platform: RecordPlatform, gateway: dict[str, Any], edge: dict[str, Any], url: str
) -> None:
    platform = record_platform(
        {"frontends": {"deploy": ["client-pwa"]}, "gateway": {"enabled": True, **gateway}, "edge": edge}
    )
    assert platform.workloads["client-pwa"].environment["API_URL"] == url
    assert platform.outputs["gateway"]["api"] == url


def test_a_front_end_has_its_configured_size(record_platform: RecordPlatform) -> None:
    frontends = {
        "deploy": ["client-pwa", "pro-webapp"],
        "scaling": {"minReplicas": 2, "maxReplicas": 4},
        "image": "registry.example.com/{name}:3",
        "overrides": {"proWebapp": {"replicas": 2, "memoryMib": 99}},
    }
    workloads = record_platform({**CLUSTER, "frontends": frontends, "gateway": {"enabled": True}}).workloads
    client, pro = workloads["client-pwa"], workloads["pro-webapp"]
    assert (client.image, client.autoscaling) == (
        "registry.example.com/client-pwa:3",
        Autoscaling(minimum=2, maximum=4, cpu_percent=70),
    )
    assert (pro.replicas, pro.autoscaling, pro.memory_mib) == (2, None, 99)
    assert "admin-webapp" not in workloads
