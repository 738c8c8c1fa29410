"""A machine with an HTTP proxy that doesn't reach the machine itself."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from operations.proxies import local_without_proxy
from tests.engine import docker_engine
from tests.engine.conftest import MakeStack
from tests.engine.pulumi_stack import PulumiStack
from tests.engine.refusing_proxy import RefusingProxy, refusing_proxy
from tests.engine.small_programs import WORKLOADS


@pytest.fixture
def stack(make_stack: MakeStack) -> PulumiStack:
    """A stack of one service, not yet up."""
    made: PulumiStack = make_stack(program=WORKLOADS, configuration={"scenario": "ready"})
    return made


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[RefusingProxy]:
    """The proxy of this process's environment."""
    with refusing_proxy() as made:
        for name, value in made.variables.items():
            monkeypatch.setenv(name, value)
        yield made


def test_with_the_variable_of_make_and_activate_no_address_of_the_machine_is_sent_to_the_proxy(
    stack: PulumiStack, proxy: RefusingProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in local_without_proxy({}).items():
        monkeypatch.setenv(name, value)

    stack.up().succeeded()
    stack.preview("--refresh", "--expect-no-changes").succeeded()

    assert docker_engine.workloads(stack.name) == {"web": "healthy"}
    assert proxy.loopback_hosts == []


def test_without_the_variable_the_program_asks_the_proxy_for_pulumis_engine(
    stack: PulumiStack, proxy: RefusingProxy
) -> None:
    stack.up().failed()

    assert "127.0.0.1" in proxy.loopback_hosts
    assert docker_engine.containers(stack.name) == []
