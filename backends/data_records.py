"""Records of a store's data in the stack's state, so that no update replaces a store with an empty one.

A record is a `pulumi.Stash`. It needs no provider, and its hooks see recorded and new values, even in a preview. There
are two kinds:

- settings: the settings with which the data was created. Registered before any object that contains data. A changed
  value is refused.
- identities: which objects contain the data. Registered after these objects and before their users. Another object of
  the same name is empty, and is refused. If the record came earlier, a volume that a failed update never created would
  be reported as lost.

A state without a record is new, or older than the records: existing data is adopted. No resource depends on a record in
Pulumi's sense, so that `pulumi state delete` can remove a single one. That is how an operator gives up the data.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import pulumi

from backends.base import DeployOptions
from settings.base import for_stack
from workloads import FixedSetting, Volume, WorkloadError

RECOVERY_SECTION = "docs/stores.md#a-claim-or-volume-is-missing"
SIZE_KEY = "sizeGib"

DEFAULT_OPTIONS = DeployOptions()

Value = TypeVar("Value")


@dataclass(frozen=True)
class Difference:
    """A recorded setting that an update would change."""

    holder: str
    """The object that contains the data, for instance a volume."""

    successor: str
    """The object that would contain the data after the update: the same one, or its replacement."""

    key: str
    old: Any
    new: Any


class DataRecords:
    """The records of one stack, with the hooks that refuse updates which would lose data."""

    def __init__(self) -> None:
        self._fixed: dict[tuple[str, str, str], FixedSetting] = {}
        self._objects: dict[str, str] = {}
        self._created: set[str] = set()
        in_previews = pulumi.ResourceHookOptions(on_dry_run=True)
        self._refuse_changed = pulumi.ResourceHook("data-refuse-changed-setting", self._check_settings, in_previews)
        self._refuse_replaced = pulumi.ResourceHook("data-refuse-replaced-object", self._check_identities, in_previews)
        self._note_creation = pulumi.ResourceHook("data-note-creation", self._remember_created, in_previews)

    def record_settings(
        self,
        name: str,
        fixed: Mapping[str, Iterable[FixedSetting]],
        *,
        sizes_gib: Mapping[str, int] | None = None,
        options: DeployOptions = DEFAULT_OPTIONS,
        before_create: Iterable[pulumi.ResourceHook] = (),
    ) -> pulumi.Stash:
        """Record the settings that can't change.

        Args:
            name: name of the record.
            fixed: maps each object that contains data, for instance a volume, to its settings.
            sizes_gib: maps each of these objects to its size, which may only grow.
            options: options of its owner.
            before_create: hooks of the new record.
        """
        recorded: dict[str, dict[str, Any]] = {}
        for holder, settings in fixed.items():
            recorded[holder] = {one.key: one.value for one in settings}
            self._fixed |= {(name, holder, one.key): one for one in settings}
        for holder, size_gib in (sizes_gib or {}).items():
            recorded.setdefault(holder, {})[SIZE_KEY] = size_gib
        hooks = pulumi.ResourceHookBinding(before_create=[*before_create], before_update=[self._refuse_changed])
        return pulumi.Stash(name, input=recorded, opts=options.resource_options(hooks=hooks))

    def record_identities(
        self, name: str, identities: Mapping[str, pulumi.Input[str | None]], *, kind: str, options: DeployOptions
    ) -> pulumi.Stash:
        """Record which objects contain data.

        Args:
            name: name of the record.
            identities: maps the name of each object in the cluster to its unique ID.
            kind: kind of the objects, for the error.
            options: options of its owner.
        """
        self._objects[name] = kind
        hooks = pulumi.ResourceHookBinding(before_update=[self._refuse_replaced])
        return pulumi.Stash(name, input=dict(identities), opts=options.resource_options(hooks=hooks))

    def identity_hooks(self, on_error: Iterable[pulumi.ErrorHook] = ()) -> pulumi.ResourceHookBinding:
        """Return the hooks of an object whose identity is recorded. In a preview, a new object has no identity yet."""
        return pulumi.ResourceHookBinding(before_create=[self._note_creation], on_error=[*on_error])

    async def _remember_created(self, hook: pulumi.ResourceHookArgs) -> None:
        self._created.add(str((hook.new_inputs or {})["metadata"]["name"]))

    async def _check_settings(self, hook: pulumi.ResourceHookArgs) -> None:
        refused = []
        for one in _differences(_stash_input(hook.old_inputs), _stash_input(hook.new_inputs)):
            what = f"'{one.holder}' of this stack contains data"
            if one.key == SIZE_KEY and float(one.new) < float(one.old):
                sizes = f"from {float(one.old):g} to {float(one.new):g} GiB"
                refused.append(
                    f"The size of '{one.holder}' can't shrink {sizes}: {what}. Set it to {float(one.old):g} or more; "
                    "for less, move the data to another stack."
                )
            elif one.key != SIZE_KEY:
                fixed = self._fixed[hook.name, one.successor, one.key]
                if one.holder == one.successor and one.old == fixed.replaces:
                    continue
                refused.append(f"{one.key} can't change from {one.old!r} to {one.new!r} while {what}. {fixed.remedy}")
        if refused:
            refused.append(removal_instruction(hook.urn, "If you no longer need that data"))
            raise WorkloadError(for_stack("\n".join(refused), _stack_of(hook.urn)))

    async def _check_identities(self, hook: pulumi.ResourceHookArgs) -> None:
        old, new = _stash_input(hook.old_inputs), _stash_input(hook.new_inputs)
        # A value that isn't known yet belongs to an object that this update would create or change.
        lost = sorted(
            name
            for name in old.keys() & new.keys()
            if (new[name] != old[name] if isinstance(new[name], str) else name in self._created)
        )
        if lost:
            kind = self._objects[hook.name]
            raise WorkloadError(
                "\n".join(
                    [
                        *(f"The {kind} '{name}' with this stack's data is missing." for name in lost),
                        f"The update doesn't replace it with an empty one. To restore it, see {RECOVERY_SECTION}",
                        removal_instruction(hook.urn, "Once it is restored, or to start with an empty one"),
                    ]
                )
            )


def after_records(value: Value, *records: pulumi.Resource) -> pulumi.Output[Value]:
    """Return the value once the records are registered.

    Use it for an input of a resource that must follow them. With `depends_on`, `pulumi state delete` would refuse to
    remove a record without the resources that depend on it.
    """

    async def value_after_records() -> Value:
        for record in records:
            await record.urn.future()
        return value

    return pulumi.Output.from_input(asyncio.ensure_future(value_after_records()))


def volume_settings(volumes: Iterable[Volume], common: Iterable[FixedSetting] = ()) -> dict[str, list[FixedSetting]]:
    """Return the fixed settings of a workload's volumes; `common` applies to each volume."""
    return {volume.name: [*volume.fixed, *common] for volume in volumes}


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Difference]:
    """Return the recorded settings that differ. A new setting is only recorded.

    If another object replaces a recorded one, all settings of the two except the size are compared: a store whose mode
    changes switches from one volume to another.
    """
    others = [holder for holder in sorted(new) if holder not in old]
    return [
        Difference(holder, successor, key, value, new[successor][key])
        for holder, settings in sorted(old.items())
        for successor in ([holder] if holder in new else others)
        for key, value in sorted(settings.items())
        if new[successor].get(key, value) != value and (successor == holder or key != SIZE_KEY)
    ]


def _stash_input(inputs: Any) -> dict[str, Any]:
    """Return the input of a Stash."""
    found = inputs["input"]
    return dict(found) if isinstance(found, Mapping) else {}


def removal_instruction(urn: str, when: str) -> str:
    """Return the sentence that describes how to remove a record from the state."""
    return f"{when}, remove the record of it from the state: pulumi state delete --stack {_stack_of(urn)} '{urn}'"


def _stack_of(urn: str) -> str:
    return urn.split("::")[0].removeprefix("urn:pulumi:")
