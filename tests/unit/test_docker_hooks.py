"""Hooks respond regardless of how many registrations are waiting for them."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pulumi
import pytest
from pulumi.resource_hooks import ResourceHookArgs

from backends.docker.engine import Engine
from backends.docker.hooks import Hooks
from backends.docker.identity import StackIdentity
from backends.docker.ownership import Ownership
from backends.threads import Threads
from recording.recorder import record

DEADLINE_S = 10


class EmptyEngine(Engine):
    """An engine without containers and networks."""

    def container(self, name: str) -> None:
        """Report that no container with that name exists."""

    def network(self, name: str) -> None:
        """Report that no network with that name exists."""


@pytest.mark.parametrize("kind", ["container", "network"])
def test_a_hook_runs_while_registrations_block_every_thread_of_the_loop(kind: str) -> None:
    """The SDK's registrations wait in those threads, and earlier ones may be waiting for this hook."""
    engine, threads = EmptyEngine(), Threads()
    hooks = record(
        lambda: Hooks(engine, threads, Ownership(engine, threads, "dev", StackIdentity(engine, threads, "dev")))
    ).hooks
    hook = hooks[f"docker-clear-leftover-{kind}"]
    assert isinstance(hook, pulumi.ResourceHook)
    args = ResourceHookArgs("urn", "", "web", "type", new_inputs={"name": "pti-web-dev"})

    async def update() -> None:
        registered = threading.Event()
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(1))
        registration = loop.run_in_executor(None, registered.wait)
        try:
            answered = hook.callback(args)
            assert asyncio.iscoroutine(answered)
            await asyncio.wait_for(answered, DEADLINE_S)
        finally:
            registered.set()
            await registration

    asyncio.run(update())
