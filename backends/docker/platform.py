"""What kind of engine responds: refuses Podman, and warns about the limits of a rootless engine."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pulumi

from backends.docker.engine import Engine, EngineError

FIRST_UNPRIVILEGED_PORT = 1024
PODMAN_COMPONENT = "Podman Engine"
ROOTLESS_OPTION = "name=rootless"


class UnsupportedEngine(pulumi.RunError):
    """The engine can't run the platform's containers."""


@dataclass(frozen=True)
class EnginePlatform:
    """The kind of an engine."""

    is_podman: bool = False
    is_rootless: bool = False


def platform_of(engine: Engine) -> EnginePlatform:
    """Return the kind of an engine. If it doesn't respond, the first query that needs it reports that."""
    try:
        components = json.loads(engine.run("version", "--format", "{{json .Server.Components}}")) or []
        options = json.loads(engine.run("info", "--format", "{{json .SecurityOptions}}")) or []
    except (EngineError, ValueError):
        return EnginePlatform()
    return EnginePlatform(
        is_podman=any(one.get("Name") == PODMAN_COMPONENT for one in components),
        is_rootless=any(ROOTLESS_OPTION in option.split(",") for option in options),
    )


def check_platform(
    platform: EnginePlatform, *, address: str, ports: Iterable[tuple[str, int]], calling_host: Sequence[str]
) -> None:
    """Refuse an engine that can't run the platform, and warn about what doesn't work on it.

    Args:
        platform: the kind of the engine.
        address: its address.
        ports: the host ports, with their keys.
        calling_host: the workloads that connect to the machine itself.

    Raises:
        UnsupportedEngine: it is Podman.
    """
    if platform.is_podman:
        raise UnsupportedEngine(
            f"The engine at {address} is Podman, which isn't supported: it refuses the owner of a tmpfs mount "
            "('unknown mount option \"uid=…\"'), which every workload with a scratch directory has. Use a Docker "
            "engine; docs/support.md lists the tested ones. Nothing has been changed."
        )
    if not platform.is_rootless:
        return
    limits = []
    if privileged := [f"{key}: {port}" for key, port in ports if port < FIRST_UNPRIVILEGED_PORT]:
        limits.append(
            f"It can't bind ports below {FIRST_UNPRIVILEGED_PORT} ({', '.join(privileged)}) unless the machine allows "
            "it: sysctl net.ipv4.ip_unprivileged_port_start=80. Or set other ports."
        )
    if calling_host:
        limits.append(
            f"Containers can't reach this machine, but {', '.join(calling_host)} must connect to it (services.local). "
            "Unless you have done so, set the engine's host-gateway-ip to the machine's address, and let RootlessKit "
            "allow connections to the host's loopback."
        )
    for limit in limits:
        pulumi.log.warn(f"The Docker engine at {address} is rootless. {limit} See docs/support.md.")
