"""Persistent volumes, which are created once and never recreated by mistake.

If a container names a missing volume, the engine silently creates an empty one. Therefore, before the stack uses a
volume recorded in its state, this module checks that the engine still has it.
"""

from __future__ import annotations

from collections.abc import Mapping

import pulumi

from backends.data_records import RECOVERY_SECTION, removal_instruction
from backends.docker.engine import Engine, EngineError
from backends.docker.ownership import Ownership
from backends.threads import Threads
from workloads import WorkloadError


class DataVolumes:
    """The persistent volumes of one stack on one engine, and their hooks."""

    def __init__(self, engine: Engine, threads: Threads, ownership: Ownership) -> None:
        self._engine = engine
        self._threads = threads
        self._ownership = ownership
        self._labels: dict[str, Mapping[str, Mapping[str, str]]] = {}
        self._records: dict[str, pulumi.Stash] = {}
        self._new_records: set[str] = set()
        self._new_volumes: set[str] = set()
        in_previews = pulumi.ResourceHookOptions(on_dry_run=True)
        self._make = pulumi.ResourceHook("docker-make-data-volumes", self._make_volumes, in_previews)
        self._refuse_lost = pulumi.ResourceHook("docker-refuse-lost-volume", self._check_volume, in_previews)
        self._refuse_empty = pulumi.ResourceHook("docker-refuse-empty-volume", self._check_mounts, in_previews)

    def before_record(self, name: str, volumes: Mapping[str, Mapping[str, str]]) -> pulumi.ResourceHook:
        """Return the `before_create` hook of the record of some volumes, given by name with their labels.

        The hook creates the volumes, so that they exist before the state has the record, however the update ends.
        """
        self._labels[name] = volumes
        return self._make

    def recorded(self, record: pulumi.Stash, name: str) -> pulumi.ResourceHookBinding:
        """Return the hooks of volumes with a registered record."""
        self._records |= dict.fromkeys(self._labels[name], record)
        return pulumi.ResourceHookBinding(before_create=[self._ownership.before_create, self._refuse_lost])

    @property
    def before_container(self) -> pulumi.ResourceHook:
        """Return the `before_create` hook of a container that mounts data volumes."""
        return self._refuse_empty

    async def _make_volumes(self, hook: pulumi.ResourceHookArgs) -> None:
        for name in self._labels[hook.name]:
            await self._ownership.refuse_foreign("volume", name)
        self._new_records.add(hook.urn)
        if pulumi.runtime.is_dry_run():
            return
        for name, labels in self._labels[hook.name].items():
            words = [word for label, value in sorted(labels.items()) for word in ("--label", f"{label}={value}")]
            await self._threads.run(self._engine.run, "volume", "create", *words, name)

    async def _check_volume(self, hook: pulumi.ResourceHookArgs) -> None:
        name = str((hook.new_inputs or {})["name"])
        self._new_volumes.add(name)
        if await self._records[name].urn.future() not in self._new_records:
            await self._refuse_missing(name)

    async def _check_mounts(self, hook: pulumi.ResourceHookArgs) -> None:
        for mount in (hook.new_inputs or {}).get("mounts", []):
            name = mount.get("source")
            # A volume that this update creates has been checked; a preview creates none.
            if name in self._records and name not in self._new_volumes:
                await self._refuse_missing(name)

    async def _refuse_missing(self, name: str) -> None:
        try:
            found = await self._threads.run(self._engine.volume, name)
        except EngineError:
            if pulumi.runtime.is_dry_run():
                return  # A preview needs no engine.
            raise
        if found is None:
            raise WorkloadError(
                f"The volume '{name}' with this stack's data is missing.\n"
                f"The update doesn't replace it with an empty one. To restore it, see {RECOVERY_SECTION}\n"
                f"{removal_instruction(str(await self._records[name].urn.future()), 'To start with an empty one')}"
            )
