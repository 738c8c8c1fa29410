"""Write the configuration of a second Docker stack, on free ports, to run alongside the first one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

import yaml

from backends.docker.ports import is_bound
from operations.configuration import read_configuration
from operations.project import ROOT, OperationError
from settings import NAMESPACE
from settings.ports import published_ports

PORT_STEP = 1000
"""Distance between the ports of two stacks: the last three digits still identify a port."""

LAST_PORT = 65_535
NAME_PATTERN = re.compile(r"[a-z][a-z0-9-]{0,19}")


def beside(stack: str, model: str) -> int:
    """Write `Pulumi.<stack>.yaml`: the configuration of the stack `model`, with host ports that are free now.

    Raises:
        OperationError: the file exists, the name can't be used, or the model has secrets or no host ports.
    """
    if not NAME_PATTERN.fullmatch(stack):
        raise OperationError(f"'{stack}' can't be a stack's name: use at most 20 lower-case letters, digits and '-'.")
    path = ROOT / f"Pulumi.{stack}.yaml"
    if path.exists():
        raise OperationError(f"{path.name} already exists; bring that stack up: make up STACK={stack}")
    settings, secrets = read_configuration(model)
    if secrets:
        raise OperationError(
            f"Pulumi.{model}.yaml has secrets ({', '.join(sorted(secrets))}), which only that stack can decrypt. "
            f"Create the stack by hand: pulumi stack init {stack} --copy-config-from {model}"
        )
    ports = dict(published_ports(settings))
    if not ports:
        raise OperationError(
            f"Stack '{model}' has no host ports, so it needs none of its own: pulumi stack init {stack}"
        )
    document = yaml.safe_load((ROOT / f"Pulumi.{model}.yaml").read_text())
    offset = _free_offset(ports.values(), str(settings.backend.bind_address), {*_ports_of_other_stacks()})
    for key, port in ports.items():
        _set(document["config"], key, port + offset)
    document.pop("encryptionsalt", None)
    path.write_text(
        "# yaml-language-server: $schema=settings/stack.schema.json\n"
        f"# Like Pulumi.{model}.yaml, but on ports that are {offset} higher.\n"
        + yaml.safe_dump(document, sort_keys=False, allow_unicode=True)
    )
    print(f"{path.name} is written; its ports are {offset} higher. Bring it up: make up STACK={stack}")
    return 0


def _free_offset(ports: Iterable[int], address: str, used: set[int]) -> int:
    """Return the smallest offset with which every port is free on this machine and in no other stack's file."""
    ports = list(ports)
    for offset in range(PORT_STEP, LAST_PORT - max(ports), PORT_STEP):
        if not any(port + offset in used or is_bound(address, port + offset) for port in ports):
            return offset
    raise OperationError(
        f"There aren't enough free ports on {address}: the stack needs {len(ports)}. Free some, and try again."
    )


def _ports_of_other_stacks() -> Iterator[int]:
    for file in ROOT.glob("Pulumi.*.yaml"):
        settings, _ = read_configuration(file.name.split(".")[1])
        yield from (port for _, port in published_ports(settings))


def _set(config: dict[str, Any], key: str, value: int) -> None:
    section, *path, last = key.split(".")
    found = config.setdefault(f"{NAMESPACE}:{section}", {})
    for part in path:
        found = found.setdefault(part, {})
    found[last] = value
