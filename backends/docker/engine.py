"""Calls the docker command for the few queries that the provider doesn't offer."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, ip_network
from typing import Any

from backends.docker.endpoint import EndpointError, EngineEndpoint, find

IDENTITY_RECORD = "stack-identity"
"""Name of the resource that records which engine a stack is on."""

STACK_LABEL = "pti-calendar.stack"
WORKLOAD_LABEL = "pti-calendar.workload"
SCHEDULE_LABEL = "pti-calendar.schedule"
"""Cron expression of a scheduled task."""

SCHEDULER_PATH = "/etc/pti-calendar/schedule/scheduler.sh"
"""Path of the scheduler in the container of a scheduled task."""

STATE_LABEL = "pti-calendar.state"
"""Id of the Pulumi state that a container belongs to."""

DATA_LABEL, PERSISTENT, FILES = "pti-calendar.data", "persistent", "files"
"""Label of a volume, and its value for a volume with the stack's data; the others contain files of the program."""

CREATOR_LABEL = "pti-calendar.created-by"
"""Names who created that state, on which machine and in which directory."""


class EngineError(Exception):
    """The engine or the docker command failed. The message is its own error message."""


@dataclass(frozen=True)
class Engine:
    """One Docker engine; blocking calls.

    Args:
        host: its address; None uses the docker command's own choice (`endpoint.find`).
    """

    host: str | None = None

    @property
    def endpoint(self) -> EngineEndpoint:
        """Return how to reach the engine. It is determined once.

        Raises:
            EngineError: the docker command's context doesn't exist or can't be used.
        """
        known = vars(self)
        if "_endpoint" not in known:
            try:
                known["_endpoint"] = find(self.host, os.environ)
            except EndpointError as error:
                raise EngineError(str(error)) from None
        found: EngineEndpoint = known["_endpoint"]
        return found

    @property
    def is_local(self) -> bool:
        """Return whether the engine runs on this machine, so that its host ports are this machine's."""
        return self.address.startswith(("unix://", "npipe://"))

    @property
    def is_over_ssh(self) -> bool:
        """Return whether the engine is reached over SSH."""
        return self.address.startswith("ssh://")

    @property
    def address(self) -> str:
        """Return the engine's address."""
        return self.endpoint.address

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment in which the docker command uses this engine, whatever its current context."""
        return self.endpoint.environment(os.environ)

    def run(self, *arguments: str, timeout_s: int = 60) -> str:
        """Run a docker command and return its output.

        Raises:
            EngineError: it could not be run, failed, or took too long.
        """
        try:
            done = subprocess.run(  # noqa: S603 - a fixed command, no shell
                ["docker", *arguments],  # noqa: S607 - the user's own docker command
                env=self.environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=timeout_s,
                check=False,
            )
        except FileNotFoundError:
            raise EngineError("the 'docker' command is not installed or not on PATH") from None
        except subprocess.TimeoutExpired:
            raise EngineError(f"'docker {arguments[0]}' didn't respond within {timeout_s} s") from None
        if done.returncode:
            raise EngineError(done.stdout.strip())
        return done.stdout

    def has_image(self, reference: str) -> bool:
        """Return whether the engine has an image with that name."""
        try:
            self.run("image", "inspect", "--format", "{{.Id}}", reference)
        except EngineError:
            return False
        return True

    def identity(self) -> tuple[str, str]:
        """Return the engine's id, which a new installation changes, and its machine's name."""
        found = json.loads(self.run("info", "--format", "{{json .}}"))
        return str(found["ID"]), str(found["Name"])

    def why_another(self, stack: str, recorded: Mapping[str, Any]) -> str | None:
        """Return why this isn't the engine in the record of a stack's identity; None if it is."""
        engine_id, name = self.identity()
        if engine_id == recorded["engine"]:
            return None
        return (
            f"Stack {stack!r} is on another Docker engine: {recorded['engineName']!r}, created by "
            f"{recorded['createdBy']}. The engine at {self.address} is {name!r}. Nothing has been changed.\n"
            "Select that engine (backend.host, DOCKER_HOST or 'docker context use'), or use another stack name here."
        )

    def labels_of_containers(self, stack: str) -> list[dict[str, str]]:
        """Return the labels of each container of a stack."""
        return [dict(one["Config"]["Labels"] or {}) for one in self.containers(stack).values()]

    def container(self, name: str) -> dict[str, Any] | None:
        """Return a container as `docker inspect` shows it; None if there is none."""
        return self._inspect("container", name)

    def containers(self, stack: str) -> dict[str, dict[str, Any]]:
        """Return all containers of a stack as `docker inspect` shows them, by name."""
        listed = ("ps", "--all", "--quiet", "--filter", f"label={STACK_LABEL}={stack}")
        ids = self.run(*listed).split()
        while ids:
            try:
                found = json.loads(self.run("container", "inspect", *ids))
            except EngineError:
                # A container that is removed between the two queries makes the second one fail.
                former, ids = ids, self.run(*listed).split()
                if ids == former:
                    raise
            else:
                return {str(one["Name"]).removeprefix("/"): one for one in found}
        return {}

    def network(self, name: str) -> dict[str, Any] | None:
        """Return a network as `docker inspect` shows it; None if there is none."""
        return self._inspect("network", name)

    def network_ranges(self) -> dict[str, list[IPv4Network]]:
        """Return the IPv4 ranges of all networks, by name."""
        listed = ("network", "ls", "--quiet")
        ids = self.run(*listed).split()
        while ids:
            try:
                found = json.loads(self.run("network", "inspect", *ids))
            except EngineError:
                # A container that is removed between the two queries makes the second one fail.
                former, ids = ids, self.run(*listed).split()
                if ids == former:
                    raise
            else:
                return {str(one["Name"]): _ipv4_ranges(one) for one in found}
        return {}

    def volume(self, name: str) -> dict[str, Any] | None:
        """Return a volume as `docker inspect` shows it; None if there is none."""
        return self._inspect("volume", name)

    def last_lines(self, name: str, count: int = 20) -> str:
        """Return the last log lines of a container, including standard error."""
        return self.run("logs", "--tail", str(count), name).rstrip()

    def last_exit_code(self, name: str) -> str:
        """Return the previous exit code of a container that is running again, from the engine's latest events;
        "unknown" if there is none."""
        ends = ("--filter", f"container={name}", "--filter", "event=die")
        newest = ("--since", "1m", "--until", "0s", "--format", "{{.Actor.Attributes.exitCode}}")
        return next(reversed(self.run("events", *ends, *newest).split()), "unknown")

    def published_ports(self, stack: str) -> set[int]:
        """Return the host ports of a stack's running containers."""
        names = self.run("ps", "--quiet", "--filter", f"label={STACK_LABEL}={stack}").split()
        if not names:
            return set()
        return {
            int(binding["HostPort"])
            for container in json.loads(self.run("inspect", *names))
            for bindings in container["NetworkSettings"]["Ports"].values()
            for binding in bindings or []
        }

    def _inspect(self, kind: str, name: str) -> dict[str, Any] | None:
        # Two queries, because the error for a missing object differs between versions of the docker command.
        everything = ("--all",) if kind == "container" else ()
        ids = self.run(kind, "ls", *everything, "--quiet", "--filter", f"name=^/?{name}$").split()
        if not ids:
            return None
        found: list[dict[str, Any]] = json.loads(self.run(kind, "inspect", ids[0]))
        return found[0]


def _ipv4_ranges(network: dict[str, Any]) -> list[IPv4Network]:
    configured = (network.get("IPAM") or {}).get("Config") or []
    ranges = [ip_network(one["Subnet"], strict=False) for one in configured if one.get("Subnet")]
    return [one for one in ranges if isinstance(one, IPv4Network)]
