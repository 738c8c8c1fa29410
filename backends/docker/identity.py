"""Which state a container belongs to, and which engine a state belongs to.

Two states can have a stack with the same name: two checkouts on one machine, or two people on one server. One state can
be used with two engines: a shared one, on two laptops. If only the stack's name counted, one state would remove the
other's containers as leftovers of a killed update, or report containers on the other engine as unchanged.

Therefore the state has a record with its own id and the engine's id, and each container has the state's id as a label.
A container that is older than the record has no such label; it belongs to the stack if it has the label with the
stack's name.
"""

from __future__ import annotations

import asyncio
import functools
import getpass
import socket
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pulumi

from backends.data_records import removal_instruction
from backends.docker.engine import CREATOR_LABEL, IDENTITY_RECORD, STATE_LABEL, Engine, EngineError
from backends.threads import Threads
from workloads import WorkloadError


class StackIdentity:
    """The record of a stack, which the first resource on the engine waits for."""

    def __init__(self, engine: Engine, threads: Threads, stack: str) -> None:
        self._engine = engine
        self._threads = threads
        self._stack = stack
        self._asks_engine = False
        self._containers: asyncio.Task[list[dict[str, str]]] | None = None

    @functools.cached_property
    def _record(self) -> pulumi.Stash:
        # Here and below, the coroutine runs in a task: if the program ended with an error, Python would warn of a
        # coroutine that was never awaited.
        values = asyncio.ensure_future(self._new_values())
        return pulumi.Stash(IDENTITY_RECORD, input=values, opts=pulumi.ResourceOptions(ignore_changes=["input"]))

    def begin(self) -> None:
        """Query the engine from now on. Without this call, as when a stack is rendered, there is no identity."""
        self._asks_engine = True

    def with_labels(self, labels: Mapping[str, str]) -> pulumi.Output[Mapping[str, str]]:
        """Return the labels of a container: the given ones, and those of its state.

        The labels don't depend on the record, so that `pulumi state delete` can remove it.
        """

        async def with_recorded() -> Any:
            values = await self._record.output.future()
            return {**labels, **_labels(values)} if await self._record.output.is_known() else pulumi.UNKNOWN

        return pulumi.Output.from_input(asyncio.ensure_future(with_recorded()))

    def checked(self, host: pulumi.Input[str] | None) -> pulumi.Output[str | None]:
        """Return the provider's host once the engine is known to be the recorded one.

        Raises:
            WorkloadError: (by the output) the stack was created on another engine.
        """
        return pulumi.Output.all(host, asyncio.ensure_future(self._checked())).apply(lambda values: values[0])

    async def refuse_other_state(self) -> None:
        """Raise `WorkloadError` if the stack's containers on this engine belonged to another state when they were
        listed.

        A preview without an engine passes.
        """
        if not self._asks_engine:
            return
        if self._containers is None:
            self._containers = asyncio.ensure_future(self._threads.run(self._engine.labels_of_containers, self._stack))
        try:
            found = await self._containers
        except EngineError:
            if pulumi.runtime.is_dry_run():
                return
            raise
        await self.refuse_others(found)

    async def refuse_others(self, found: Iterable[Mapping[str, str]]) -> None:
        """Raise `WorkloadError` if a label of one of the stack's objects names another state."""
        if not self._asks_engine:
            return
        own = (await self._values() or {}).get("state")
        others = sorted({one.get(CREATOR_LABEL, "?") for one in found if one.get(STATE_LABEL, own) != own})
        if others:
            raise WorkloadError(
                f"The containers of stack {self._stack!r} on this engine belong to another Pulumi state, created by "
                f"{', '.join(others)}. They have not been changed.\n"
                "To run a stack of your own beside it, give it another name and other ports: "
                f"make beside STACK={self._stack}2\n"
                "If that state no longer exists, or you want to replace its stack (data stays): "
                f"make take-over STACK={self._stack}"
            )

    async def _checked(self) -> None:
        values = await self._values()
        if not values:
            return
        try:
            reason = await self._threads.run(self._engine.why_another, self._stack, values)
        except EngineError:
            return  # The next query reports that the engine doesn't respond.
        if reason:
            remedy = removal_instruction(await self._record.urn.future() or "", "If that engine no longer exists")
            raise WorkloadError(f"{reason}\n{remedy}")

    async def _values(self) -> Mapping[str, Any] | None:
        """Return the recorded values; None in the preview of a new stack."""
        found = await self._record.output.future()
        return found if isinstance(found, Mapping) else None

    async def _new_values(self) -> Any:
        """Return the values of a new record; an existing one keeps its own."""
        if not self._asks_engine:
            return {}
        is_preview = pulumi.runtime.is_dry_run()
        try:
            (engine_id, name), found = await asyncio.gather(
                self._threads.run(self._engine.identity),
                self._threads.run(self._engine.labels_of_containers, self._stack),
            )
        except EngineError:
            if is_preview:
                return pulumi.UNKNOWN
            raise
        values = {"engine": engine_id, "engineName": name, "createdBy": _creator()}
        # If the stack is older than the record, an additional label would replace every container.
        if any(STATE_LABEL not in one for one in found):
            return values
        # A preview leaves the values open: a saved plan is then valid on another machine.
        return pulumi.UNKNOWN if is_preview else {**values, "state": uuid.uuid4().hex}


def _labels(values: Mapping[str, Any] | None) -> dict[str, str]:
    """Return a container's labels from the record; none for a stack that is older than the record."""
    if not values or "state" not in values:
        return {}
    return {STATE_LABEL: str(values["state"]), CREATOR_LABEL: str(values["createdBy"])}


def _creator() -> str:
    return f"{getpass.getuser()}@{socket.gethostname()}:{Path.cwd()}"
