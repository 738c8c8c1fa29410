"""Hooks around the creation of a container: remove leftovers, print the log of a failure, remove failed tasks.

They cover three gaps of the provider:

- An update killed while it creates a container or network leaves it behind, without a record in the state, and the next
  one would fail because the name is taken. Before a creation, an object with the name must be such a leftover, because
  `Ownership` has accepted it.
- A task that fails makes the update fail with only one sentence. The hook prints its last log lines, which show the
  reason.
- The provider waits for a task's health check until the timeout, even after the task has failed; it stops as soon as
  the container is removed. `readiness.py` waits for everything else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import pulumi

from backends.docker.engine import Engine, EngineError
from backends.docker.ownership import Ownership
from backends.threads import Threads

POLL_S = 0.5


class Hooks:
    """The resource hooks of one stack on one engine."""

    def __init__(self, engine: Engine, threads: Threads, ownership: Ownership) -> None:
        self._engine = engine
        self._threads = threads
        self._ownership = ownership
        self._failed_tasks: dict[str, str] = {}
        self._task_watchers: set[asyncio.Task[None]] = set()
        self._clear_container = pulumi.ResourceHook("docker-clear-leftover-container", self._remove_container)
        self._clear_network = pulumi.ResourceHook("docker-clear-leftover-network", self._remove_network)
        self._watch_task = pulumi.ResourceHook("docker-watch-task", self._start_watch)
        self._explain = pulumi.ErrorHook("docker-explain-failed-task", self._explain_failure)

    def for_container(self, *, is_task: bool, checks: Iterable[pulumi.ResourceHook] = ()) -> pulumi.ResourceHookBinding:
        """Return the hooks of a container. The ownership hook and `checks` run first, because they may refuse it."""
        hooks = [
            self._ownership.before_create,
            *checks,
            self._clear_container,
            *([self._watch_task] if is_task else []),
        ]
        return pulumi.ResourceHookBinding(before_create=[*hooks], on_error=[self._explain] if is_task else None)

    def for_network(self) -> pulumi.ResourceHookBinding:
        """Return the hooks of a network."""
        return pulumi.ResourceHookBinding(before_create=[self._ownership.before_create, self._clear_network])

    async def _remove_container(self, hook: pulumi.ResourceHookArgs) -> None:
        name = _name(hook.new_inputs)
        found = await self._threads.run(self._engine.container, name)
        if found:
            await self._threads.run(self._engine.run, "rm", "--force", "--volumes", name)

    async def _remove_network(self, hook: pulumi.ResourceHookArgs) -> None:
        name = _name(hook.new_inputs)
        found = await self._threads.run(self._engine.network, name)
        if found:
            for container in found["Containers"].values():
                arguments = ("network", "disconnect", "--force", name, container["Name"])
                await self._threads.run(self._engine.run, *arguments)
            await self._threads.run(self._engine.run, "network", "rm", name)

    async def _start_watch(self, hook: pulumi.ResourceHookArgs) -> None:
        watch = asyncio.create_task(self._remove_failed_task(_name(hook.new_inputs)))
        self._task_watchers.add(watch)
        watch.add_done_callback(self._task_watchers.discard)

    async def _remove_failed_task(self, name: str) -> None:
        """Wait until the task ends. Remove a failed one after its last log lines; this ends the provider's wait."""
        seen = False
        while True:
            found = await self._threads.run(self._engine.container, name)
            if found is None and seen:
                return
            seen = seen or found is not None
            state = found["State"] if found else {}
            if state.get("Health", {}).get("Status") == "healthy":
                return
            if state.get("Status") == "exited":
                lines = await self._threads.run(self._engine.last_lines, name)
                self._failed_tasks[name] = f"exited with code {state['ExitCode']}. Its last lines:\n{lines}"
                await self._threads.run(self._engine.run, "rm", "--force", "--volumes", name)
                return
            await asyncio.sleep(POLL_S)

    async def _explain_failure(self, hook: pulumi.ErrorHookArgs) -> bool:
        name = _name(hook.new_inputs)
        reason = self._failed_tasks.pop(name, None)
        if reason is None:
            try:
                lines = await self._threads.run(self._engine.last_lines, name)
            except EngineError:
                return False
            reason = f"has not succeeded. Its last lines:\n{lines or '(it wrote nothing)'}"
        pulumi.log.error(f"{name} {reason}")
        return False


def _name(inputs: Any) -> str:
    """Return the name that a hook's resource has on the engine."""
    return str(inputs["name"])
