"""The networks of forty services get addresses although another project has used up the engine's own pools."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from backends.docker.engine import Engine, EngineError
from backends.docker.ranges import NetworkRanges, bridge_address
from settings.backend import BackendSettings
from settings.stores.redis import RedisSettings
from tests.engine.own_engine import OwnEngine, own_engine, why_unavailable
from tests.engine.pulumi_stack import PulumiStack
from tests.engine.small_programs import WORKLOADS

SERVICES = 40
MOST_DEFAULT_RANGES = 40
"""More than the engine's defaults: fifteen from 172.17.0.0/12 and sixteen from 192.168.0.0/16."""

EXHAUSTED = "non-overlapping IPv4 address pool"


@pytest.fixture(scope="module")
def engine() -> Iterator[OwnEngine]:
    """A separate engine whose default pools another project has used up; `DOCKER_HOST` points to it."""
    if reason := why_unavailable():
        pytest.skip(reason)
    with own_engine() as made, pytest.MonkeyPatch.context() as patch:
        made.load(RedisSettings().image)
        patch.setenv("DOCKER_HOST", made.address)
        use_up_default_pools()
        yield made


def use_up_default_pools() -> None:
    """Create networks like Compose does for a project, until the engine has no range left."""
    for number in range(MOST_DEFAULT_RANGES):
        command = ["docker", "network", "create", "--label", "com.docker.compose.project=shop", f"shop_{number}"]
        created = subprocess.run(command, capture_output=True, text=True)
        if created.returncode:
            assert EXHAUSTED in created.stderr
            return
    pytest.fail("the engine has more default ranges than expected")


def test_forty_services_get_networks_beside_another_project(engine: OwnEngine) -> None:
    docker_engine = Engine(engine.address)
    with pytest.raises(EngineError, match=EXHAUSTED):
        docker_engine.run("network", "create", "without-a-range")
    ranges = NetworkRanges(BackendSettings().network_pool, docker_engine.network_ranges())
    names = [f"pti-service-{number}-forty" for number in range(SERVICES)]
    chosen = {name: ranges.allocate(name) for name in names}

    def create(name: str) -> None:
        subnet = chosen[name]
        docker_engine.run("network", "create", "--subnet", str(subnet), "--gateway", str(bridge_address(subnet)), name)

    try:
        with ThreadPoolExecutor(4) as executor:
            list(executor.map(create, chosen))
        known = docker_engine.network_ranges()
        assert {name: known[name] for name in chosen} == {name: [one] for name, one in chosen.items()}
        again = NetworkRanges(BackendSettings().network_pool, known)
        assert {name: again.allocate(name) for name in reversed(chosen)} == chosen
    finally:
        docker_engine.run("network", "rm", *chosen)


def test_a_stack_comes_up_beside_another_project_and_a_preview_is_empty(engine: OwnEngine, tmp_path: Path) -> None:
    stack = PulumiStack(tmp_path, program=WORKLOADS, configuration={"scenario": "of each kind"})
    try:
        stack.up().succeeded()
        (store,) = Engine(engine.address).network_ranges()[f"pti-store-{stack.name}"]
        assert store.subnet_of(BackendSettings().network_pool)
        stack.preview("--refresh", "--expect-no-changes").succeeded()
    finally:
        stack.remove()
