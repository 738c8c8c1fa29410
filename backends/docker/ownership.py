"""Refuses a container, network or volume whose name is already used by an object of another owner.

Each object has a label with its stack. If a killed update of this stack left the object behind, a container or network
is removed and created again, and a volume is adopted. Any other object with that name is refused, in previews as well.
"""

from __future__ import annotations

from typing import Any

import pulumi

from backends.data_records import RECOVERY_SECTION
from backends.docker.engine import STACK_LABEL, Engine, EngineError
from backends.docker.identity import StackIdentity
from backends.threads import Threads
from workloads import WorkloadError


class Ownership:
    """The hook that refuses objects of other owners."""

    def __init__(self, engine: Engine, threads: Threads, stack: str, identity: StackIdentity) -> None:
        self._identity = identity
        self._engine = engine
        self._threads = threads
        self._stack = stack
        self.before_create = pulumi.ResourceHook(
            "docker-refuse-foreign-object", self._check, pulumi.ResourceHookOptions(on_dry_run=True)
        )
        """Hook for the creation of a container, a network or a volume."""

    async def refuse_foreign(self, kind: str, name: str) -> None:
        """Raise `WorkloadError` if a `container`, `network` or `volume` with that name exists and doesn't belong to the
        stack, or if containers of the stack belong to another state. A preview without an engine passes."""
        await self._identity.refuse_other_state()
        ask = {"container": self._engine.container, "network": self._engine.network, "volume": self._engine.volume}
        try:
            found = await self._threads.run(ask[kind], name)
        except EngineError:
            if pulumi.runtime.is_dry_run():
                return
            raise
        if found is not None and _labels(found).get(STACK_LABEL) != self._stack:
            raise WorkloadError(self._refusal(kind, name))
        if found is not None:
            # Another state may have created the container since the containers were listed.
            await self._identity.refuse_others([_labels(found)])

    async def _check(self, hook: pulumi.ResourceHookArgs) -> None:
        await self.refuse_foreign(hook.type.rpartition(":")[2].lower(), str((hook.new_inputs or {})["name"]))

    def _refusal(self, kind: str, name: str) -> str:
        refused = f"a {kind} named {name!r} exists and does not belong to stack {self._stack!r}"
        if kind == "volume":
            return (
                f"{refused}; it has not been changed. Copy its data to a volume with the stack's labels, as "
                f"{RECOVERY_SECTION} describes, or remove it with: docker volume rm {name}"
            )
        return f"{refused}; rename it, or remove it with: docker {kind} rm {name}"


def _labels(found: dict[str, Any]) -> dict[str, str]:
    return dict(found.get("Config", found)["Labels"] or {})
