"""Records the address of each resource, so that no refactoring deletes running resources.

Pulumi identifies a resource by its URN: the types of its parents, its own type, its name. If the program moves or
renames one without an alias, Pulumi sees a new resource and a removed one. On Kubernetes the new one adopts the live
object, and the removal then deletes it.

- `MOVED` lists the former address of each resource that was moved or renamed. The program adds an alias for it and for
  the resource's children.
- A record (a `pulumi.Stash`) keeps the addresses in the state. Its hook refuses an update, and its preview, in which
  one has changed without an entry. All other resources are registered after it, so that nothing has been changed by
  then.

An address is the end of a URN, `<type of the parents>$…$<type>::<name>`; the stack itself doesn't count as a parent.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import pulumi

from workloads import WorkloadError

MOVED: Mapping[str, str] = {}
"""Maps the former address to the current address of each resource that was moved or renamed since the last release.

A component's children follow it and need no entry. An entry can be removed once every stack has been updated with it.
"""

RECORD_NAME = "addresses"


@dataclass(frozen=True)
class Address:
    """The current and the former addresses of a resource."""

    types: str
    """Types of the resource's parents and of the resource itself, joined by `$`."""

    name: str
    former: tuple[str, ...]
    """Former addresses, as in `MOVED`."""

    owner: str | None
    """Key of the parent; None if the parent is the stack."""

    def __str__(self) -> str:
        return f"{self.types}::{self.name}"


class Addresses:
    """The addresses of one stack's resources. A context manager: declare all resources inside it.

    On exit, it records the addresses in the state. If the program fails inside it, no resource is registered, and
    Pulumi reports that failure.

    Args:
        project: the program's name, as in URNs.
        stack: the stack's name.
        moved: maps each former address to the current one.
    """

    def __init__(self, *, project: str, stack: str, moved: Mapping[str, str] = MOVED) -> None:
        self._prefix = f"urn:pulumi:{stack}::{project}::"
        self._former: dict[str, list[str]] = {}
        for former, present in moved.items():
            self._former.setdefault(present, []).append(former)
        self._addresses: dict[str, Address] = {}
        self._keys: dict[pulumi.Resource, str] = {}
        self._record: pulumi.Stash | None = None
        self._recording = False
        self._failure: BaseException | None = None
        in_previews = pulumi.ResourceHookOptions(on_dry_run=True)
        self._refuse_moves = pulumi.ResourceHook("addresses-refuse-move", self._check, in_previews)
        pulumi.runtime.register_stack_transformation(self._record_address)

    def __enter__(self) -> None:
        """Do nothing: the constructor has registered the transformation."""

    def __exit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None
    ) -> None:
        if failure is not None:
            self._failure = failure
            return
        self._recording = True
        self._record = pulumi.Stash(
            RECORD_NAME,
            input={key: str(address) for key, address in sorted(self._addresses.items())},
            opts=pulumi.ResourceOptions(hooks=pulumi.ResourceHookBinding(before_update=[self._refuse_moves])),
        )

    def _record_address(self, args: pulumi.ResourceTransformationArgs) -> pulumi.ResourceTransformationResult | None:
        """Note a resource's address, add its aliases, and make it wait for the record."""
        if self._recording:
            return None
        key = _key(args.type_, args.name, args.props)
        parent = self._keys.get(args.opts.parent) if args.opts.parent else None
        parent_address = self._addresses[parent] if parent else None
        types = f"{parent_address.types}${args.type_}" if parent_address else args.type_
        inherited = (
            [f"{former.partition('::')[0]}${args.type_}::{args.name}" for former in parent_address.former]
            if parent_address
            else []
        )
        named = [
            self._former_address(alias, args) for alias in args.opts.aliases or () if isinstance(alias, pulumi.Alias)
        ]
        former = [*self._former.get(f"{types}::{args.name}", ()), *inherited, *named]
        self._keys[args.resource] = key
        self._addresses[key] = Address(types, args.name, tuple(former), parent)
        opts = copy.copy(args.opts)
        opts.aliases = [*(opts.aliases or ()), *(f"{self._prefix}{one}" for one in former)]
        # The wait isn't a dependency, which would be recorded in the state and affect `--target`.
        opts.depends_on = [*_as_list(opts.depends_on), self._wait_for_record()]
        return pulumi.ResourceTransformationResult(args.props, opts)

    def _former_address(self, alias: pulumi.Alias, args: pulumi.ResourceTransformationArgs) -> str:
        """Return the former address in an alias that the program gives a resource."""
        is_given = alias.parent is None or isinstance(alias.parent, pulumi.Resource)
        parent = alias.parent if is_given else args.opts.parent
        parent_address = f"{self._addresses[self._keys[parent]].types}$" if isinstance(parent, pulumi.Resource) else ""
        return f"{parent_address}{args.type_}::{alias.name if isinstance(alias.name, str) else args.name}"

    async def _wait_for_record(self) -> Any:
        """Wait until Pulumi has accepted the record. If its hook refuses, this never happens."""
        if self._failure is not None:
            raise self._failure
        if self._record is None:
            raise RuntimeError("resources are declared inside `with Addresses(…)`, which has not ended")
        await self._record.urn.future()

    async def _check(self, hook: pulumi.ResourceHookArgs) -> None:
        old: Mapping[str, str] = dict((hook.old_inputs or {})["input"])
        moved = {
            key: (old[key], address)
            for key, address in self._addresses.items()
            if key in old and old[key] not in (str(address), *address.former)
        }
        entries = [
            f'    "{former}": "{address}",'
            for former, address in moved.values()
            if not _moved_with_parent(former, address, moved.get(address.owner or ""))
        ]
        if entries:
            raise WorkloadError(
                f"The program has moved or renamed resources of this stack: {', '.join(sorted(moved))}.\n"
                "Pulumi would treat each as a new resource and delete the running one. Nothing has been changed. Add "
                "the former addresses to MOVED in backends/addresses.py:\n" + "\n".join(sorted(entries))
            )


def _key(type_: str, name: str, props: Mapping[str, Any]) -> str:
    """Return the key of a resource, which stays the same when it moves: its type and name. For a Kubernetes object: its
    kind without the API version, and its name in the cluster if the program sets one."""
    if not type_.startswith("kubernetes:"):
        return f"{type_} {name}"
    package, version, kind = type_.split(":")
    metadata = props.get("metadata")
    cluster_name = metadata.get("name") if isinstance(metadata, Mapping) else None
    return f"{package}:{version.partition('/')[0]}:{kind} {cluster_name if isinstance(cluster_name, str) else name}"


def _moved_with_parent(former: str, address: Address, owner: tuple[str, Address] | None) -> bool:
    """Return whether a resource moved only because its parent did."""
    if owner is None:
        return False
    parent_address, _ = owner[0].split("::")
    return former == f"{parent_address}${address.types.rpartition('$')[2]}::{address.name}"


def _as_list(depends_on: Any) -> Sequence[Any]:
    """Return the dependencies of a resource as a list."""
    if isinstance(depends_on, pulumi.Resource):
        return [depends_on]
    return list(depends_on or ())
