"""Hooks answer however many registrations wait for them."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pulumi
import pytest
from pulumi.resource_hooks import ResourceHookArgs

from backends.docker.engine import Engine
from backends.docker.hooks import Hooks

DEADLINE_S = 10


class _EmptyEngine(Engine):
    """Has nothing."""

    def container(self, name: str) -> None:
        return

    def network(self, name: str) -> None:
        return


@pytest.mark.parametrize("kind", ["container", "network"])
def test_a_hook_answers_while_registrations_hold_every_thread_of_the_loop(kind: str) -> None:
    """The SDK's registrations wait in those threads, and some of them for this very hook."""

    async def program() -> None:
        registered = threading.Event()
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(1))
        registration = loop.run_in_executor(None, registered.wait)
        try:
            hooks = Hooks(_EmptyEngine(), "dev")
            binding = hooks.for_container(is_task=False) if kind == "container" else hooks.for_network()
            (hook,) = binding.before_create or []
            assert isinstance(hook, pulumi.ResourceHook)
            asked = hook.callback(ResourceHookArgs("urn", "", "web", "type", new_inputs={"name": "pti-web-dev"}))
            assert asked is not None
            await asyncio.wait_for(asked, DEADLINE_S)
        finally:
            registered.set()
            await registration

    asyncio.run(program())
