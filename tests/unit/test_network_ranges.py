"""The address ranges of Docker's networks."""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import Any

import pulumi
import pytest
from pulumi.runtime.rpc import UNKNOWN

from backends.base import DeployOptions
from backends.docker.backend import DockerBackend, EngineUnreachable
from backends.docker.engine import EngineError
from backends.docker.platform import EnginePlatform
from backends.docker.ranges import NetworkRanges
from recording.recorder import Recording, record
from settings.backend import BackendSettings, ImagesSettings
from tests.unit.mistakes import assert_refused, refused_keys
from workloads import Port, Service, WorkloadError

POOL = IPv4Network("10.192.0.0/12")
SMALL_POOL = IPv4Network("10.200.0.0/20")
"""A pool of sixteen ranges."""

NAMES = [f"pti-service-{number}-dev" for number in range(400)]


def ranges(pool: IPv4Network = POOL, **known: str) -> NetworkRanges:
    return NetworkRanges(pool, {name.replace("_", "-"): [IPv4Network(one)] for name, one in known.items()})


def test_ranges_are_parts_of_the_pool_and_do_not_overlap() -> None:
    chosen = ranges()
    found = [chosen.allocate(name) for name in NAMES]
    assert all(one.subnet_of(POOL) and one.num_addresses == 256 for one in found)
    assert len({*found}) == len(NAMES)


def test_a_name_determines_its_range() -> None:
    assert [ranges().allocate(name) for name in NAMES] == [ranges().allocate(name) for name in NAMES]


def test_only_the_candidates_before_a_free_range_are_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    """All 4,096 ranges of the pool, computed for each network, took a quarter of a Docker stack's CPU time."""
    computed: list[tuple[int, int]] = []

    def network(address: tuple[int, int]) -> IPv4Network:
        computed.append(address)
        return IPv4Network(address)

    monkeypatch.setattr("backends.docker.ranges.IPv4Network", network)
    ranges().allocate("pti-redis-dev")
    assert len(computed) == 1


def test_an_existing_network_keeps_its_range_whatever_is_added_before_it() -> None:
    small = NetworkRanges(SMALL_POOL, {})
    first = {name: small.allocate(name) for name in NAMES[:8]}
    later = NetworkRanges(SMALL_POOL, {name: [one] for name, one in first.items()})
    added = [later.allocate(name) for name in NAMES[8:16]]
    assert {name: later.allocate(name) for name in first} == first
    assert len({*added, *first.values()}) == 16


def test_a_range_of_another_network_is_not_used() -> None:
    first = ranges().allocate("pti-redis-dev")
    second = ranges(shop_default=str(first)).allocate("pti-redis-dev")
    assert not second.overlaps(first)
    third = ranges(shop_default=str(first.supernet(new_prefix=16))).allocate("pti-redis-dev")
    assert not third.overlaps(first.supernet(new_prefix=16))


def test_a_network_outside_the_pool_gets_a_range_in_it() -> None:
    assert ranges(pti_redis_dev="172.18.0.0/16").allocate("pti-redis-dev").subnet_of(POOL)


def test_a_full_pool_is_refused_with_key_users_and_fix() -> None:
    full = ranges(SMALL_POOL, shop_default="10.200.0.0/21")
    for name in NAMES[:8]:
        full.allocate(name)
    with pytest.raises(WorkloadError) as refused:
        full.allocate("pti-redis-dev")
    for part in ("backend.networkPool: 10.200.0.0/20", "'pti-redis-dev'", "8 of 16", "shop-default (10.200.0.0/21)"):
        assert part in str(refused.value)
    assert "pulumi config set --path 'pti-calendar:backend.networkPool'" in str(refused.value)


def record_network(
    monkeypatch: pytest.MonkeyPatch,
    known: dict[str, list[IPv4Network]] | None,
    *,
    preview: bool = False,
    pool: IPv4Network = POOL,
) -> Recording[Any]:
    """Deploy a workload on a backend whose engine has these networks, or doesn't respond."""

    def network_ranges(engine: object) -> dict[str, list[IPv4Network]]:
        if known is None:
            raise EngineError("no response")
        return known

    monkeypatch.setattr("backends.docker.engine.Engine.network_ranges", network_ranges)
    monkeypatch.setattr("backends.docker.engine.Engine.published_ports", lambda engine, stack: set())
    monkeypatch.setattr("backends.docker.backend.platform_of", lambda engine: EnginePlatform())

    def program() -> None:
        docker = DockerBackend(BackendSettings(network_pool=pool), ImagesSettings(), stack="dev", protect=False)
        parent = pulumi.ComponentResource("test:index:Parent", "parent")
        port = Port(name="redis", number=6379)
        redis = Service(name="redis", image="redis:1.0", user=1000, memory_mib=64, ports=(port,))
        docker.deploy(redis, DeployOptions(parent=parent))
        docker.preflight([])

    return record(program, preview=preview)


def test_a_network_has_a_range_and_a_gateway_and_keeps_its_current_range(monkeypatch: pytest.MonkeyPatch) -> None:
    network = record_network(monkeypatch, {}).get("Network", "redis")
    expected = ranges().allocate("pti-redis-dev")
    assert network.inputs["ipamConfigs"] == [
        {"subnet": str(expected), "gateway": str(expected.network_address + 1)},
    ]
    assert network.ignore_changes == ("ipamConfigs",)


def test_a_new_network_avoids_those_of_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = ranges().allocate("pti-redis-dev")
    (configuration,) = (
        record_network(monkeypatch, {"shop_default": [taken]}).get("Network", "redis").inputs["ipamConfigs"]
    )
    assert not IPv4Network(configuration["subnet"]).overlaps(taken)


@pytest.mark.parametrize("known", [{}, {"shop_default": [ranges().allocate("pti-redis-dev")]}])
def test_the_range_in_a_preview_does_not_depend_on_the_engine(
    monkeypatch: pytest.MonkeyPatch, known: dict[str, list[IPv4Network]]
) -> None:
    network = record_network(monkeypatch, known, preview=True).get("Network", "redis")
    assert network.inputs["ipamConfigs"] == [{"subnet": UNKNOWN, "gateway": UNKNOWN}]


@pytest.mark.parametrize("preview", [True, False])
def test_an_engine_without_a_free_range_is_refused_before_anything_is_registered(
    monkeypatch: pytest.MonkeyPatch, preview: bool
) -> None:
    with pytest.raises(WorkloadError, match=r"backend\.networkPool: .* 'pti-redis-dev'"):
        record_network(monkeypatch, {"shop_default": [POOL]}, preview=preview)


@pytest.mark.parametrize(("preview", "reason"), [(False, "Nothing has been changed"), (True, "for a preview, too")])
def test_an_unresponsive_engine_is_reported(monkeypatch: pytest.MonkeyPatch, preview: bool, reason: str) -> None:
    with pytest.raises(EngineUnreachable, match=rf"No Docker engine responds at .*\n  no response\n.*{reason}"):
        record_network(monkeypatch, None, preview=preview)


def test_a_preview_does_not_connect_to_an_engine_over_ssh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "ssh://me@engine")
    (warning,) = record_network(monkeypatch, None, preview=True).log
    assert "No Docker engine responds at ssh://me@engine" in warning


@pytest.mark.parametrize("pool", ["10.192.0.0/21", "10.0.0.0/7", "8.8.0.0/16", "10.192.0.1/16", "fd00::/8", "pool", 10])
def test_a_pool_that_is_public_too_small_or_too_large_is_refused(pool: object) -> None:
    expected = "a private IPv4 range from /8 to /20"
    assert_refused(refused_keys({"backend": {"networkPool": pool}}), {"backend.networkPool": expected})


@pytest.mark.parametrize(
    ("configuration", "address"),
    [
        ({"backend": {"networkPool": "10.0.0.0/16", "publishedHost": "10.0.3.4"}}, "10.0.3.4"),
        ({"backend": {"networkPool": "10.0.0.0/16", "bindAddress": "10.0.3.4"}}, "10.0.3.4"),
        (
            {
                "backend": {"networkPool": "10.0.0.0/16"},
                "redis": {"mode": "external", "external": {"host": "10.0.3.4"}},
            },
            "10.0.3.4 of redis.external.host",
        ),
        (
            {
                "backend": {"networkPool": "10.0.0.0/16"},
                "kafka": {"mode": "external", "external": {"bootstrapServers": ["10.0.3.4:9092"]}},
            },
            "10.0.3.4 of kafka.external.bootstrapServers",
        ),
    ],
)
def test_a_pool_that_contains_a_known_address_is_refused(configuration: dict[str, Any], address: str) -> None:
    found = refused_keys(configuration)
    assert_refused({"backend.networkPool": found["backend.networkPool"]}, {"backend.networkPool": address})


def test_a_pool_has_no_effect_on_kubernetes() -> None:
    found = refused_keys({"backend": {"kind": "kubernetes", "networkPool": "10.0.0.0/16"}})
    assert_refused({"backend.networkPool": found["backend.networkPool"]}, {"backend.networkPool": "has no effect"})
