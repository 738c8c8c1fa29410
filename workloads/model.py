"""What one container needs to run, in terms that every backend understands.

Structure (names, counts, ports, flags) is plain Python, so that a backend can decide on it while the program runs;
values that are secret or only known later are `pulumi.Input[str]`. A backend raises `WorkloadError` for a field that it
doesn't support; it never ignores one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import PurePosixPath

import pulumi

from workloads.checks import HttpGet, Liveness, Probe, TcpConnect
from workloads.connections import Endpoint, External, Health, Metrics, Port
from workloads.disk import FileSet, Scratch, Volume

NAME = re.compile(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?")


class WorkloadError(pulumi.RunError):
    """A workload is inconsistent, or needs something that the backend doesn't support."""


class Kind(Enum):
    """How long a workload runs, and whether it keeps data."""

    SERVICE = "service"
    """Runs until it is removed; its replicas are interchangeable."""

    STATEFUL = "stateful"
    """Runs until it is removed; owns persistent volumes, each used by one container at a time."""

    TASK = "task"
    """Runs to completion when its definition changes. If it fails, the update fails and the next one runs it again."""


@dataclass(frozen=True, kw_only=True)
class Autoscaling:
    """Limits and target of horizontal autoscaling."""

    minimum: int
    maximum: int
    cpu_percent: int
    """Target CPU use, in percent of the CPU request."""


@dataclass(frozen=True, kw_only=True)
class Workload:
    """A container and everything it needs.

    Raises:
        WorkloadError: fields contradict each other.
    """

    name: str
    """DNS label, which is also the host name for clients."""

    image: str
    """Image reference with an exact tag or a digest."""

    user: int
    """Numeric user (and group) id of the processes."""

    memory_mib: int
    """Memory limit in MiB; a process that needs more is killed."""

    kind: Kind = Kind.SERVICE
    cpu_request: float = 0.05
    """CPU request in cores. There is no limit: a workload may use what the others leave."""

    replicas: int = 1
    """Number of replicas. If `autoscaling` is set, it controls the number."""

    autoscaling: Autoscaling | None = None
    command: tuple[str, ...] = ()
    """Overrides the image's entry point; empty keeps it."""

    arguments: tuple[str, ...] = ()
    environment: Mapping[str, pulumi.Input[str]] = field(default_factory=dict)
    """Environment variables without secrets: their place is a secret `FileSet`, which no listing shows."""

    ports: tuple[Port, ...] = ()
    file_sets: tuple[FileSet, ...] = ()
    volumes: tuple[Volume, ...] = ()
    scratch: tuple[Scratch, ...] = ()
    read_only_root: bool = True
    """False only if the image can't run with a read-only root file system."""

    readiness: Probe | None = None
    liveness: Liveness | None = None
    depends_on: tuple[str, ...] = ()
    """Workloads that must be ready (tasks: have succeeded) before this one starts."""

    connects_to: tuple[Endpoint | External, ...] = ()
    """What it connects to. No other connections are allowed."""

    host_gateway: bool = False
    """Whether it connects to the machine that the platform runs on, such as a developer's laptop, as `HOST_GATEWAY`."""

    peer_ports: tuple[int, ...] = ()
    """Ports on which its replicas reach each other, each as `<name>-<number from 0>.<name>-peers`."""

    metrics: tuple[Metrics, ...] = ()
    """Metrics to scrape; a multi-target exporter has one entry per target."""

    health: Health | None = None
    """Health endpoint for monitoring, if it has no metrics."""

    reads_node_metrics: bool = False
    """Whether it may list the platform's machines and read their metrics, with credentials of its own."""

    reads_deployed_objects: bool = False
    """Whether it may list and watch the platform's workloads and volumes, but no secrets."""

    stop_grace_s: int = 10
    """Seconds between SIGTERM and SIGKILL."""

    timeout_s: int = 120
    """Maximum run time of a task, in seconds."""

    def __post_init__(self) -> None:
        def refuse(reason: str) -> None:
            raise WorkloadError(f"workload {self.name!r}: {reason}")

        if not NAME.fullmatch(self.name):
            refuse("the name must be a DNS label of at most 40 lower-case letters, digits and '-'")
        if self.replicas < 1:
            refuse(f"replicas must be at least 1, not {self.replicas}")
        if self.user == 0:
            refuse("must not run as root (user 0)")
        if self.kind is Kind.TASK and (self.readiness or self.ports or self.replicas > 1):
            refuse("a task can't have a readiness probe, ports or replicas: it completes when its command exits with 0")
        if self.kind is Kind.TASK and not self.command:
            refuse("a task requires a command")
        if self.volumes and self.kind is not Kind.STATEFUL:
            refuse("only a stateful workload can have persistent volumes")
        if closed := [port.name for port in self.ports if port.public and port.publish is None]:
            refuse(f"the public ports {closed} need the port number that users connect to (publish)")
        numbers = [port.number for port in self.ports]
        if len(set(numbers)) != len(numbers):
            refuse(f"there is a duplicate port number in {numbers}")
        check = self.readiness.check if self.readiness else None
        if isinstance(check, (HttpGet, TcpConnect)) and check.port not in numbers:
            refuse(f"the readiness probe checks port {check.port}, which is not among its ports {numbers}")
        alive = self.liveness.check if self.liveness else None
        if alive and not check:
            refuse("a liveness probe requires a readiness probe, which decides when clients are routed to it")
        if isinstance(alive, (HttpGet, TcpConnect)) and alive.port not in numbers:
            refuse(f"the liveness probe checks port {alive.port}, which is not among its ports {numbers}")
        for volume in self.volumes:
            keys = [fixed.key for fixed in volume.fixed]
            if "" in keys or len(set(keys)) != len(keys):
                refuse(f"volume {volume.name!r} requires a unique key for each fixed setting, not {keys}")
        labels = [file_set.name for file_set in self.file_sets]
        if not all(map(NAME.fullmatch, labels)) or len(set(labels)) != len(labels):
            refuse(f"each file set requires a unique DNS label as its name, not {labels}")
        directories = [
            *(file_set.directory for file_set in self.file_sets),
            *(volume.mount for volume in self.volumes),
            *(scratch.path for scratch in self.scratch),
        ]
        for directory in directories:
            if not PurePosixPath(directory).is_absolute() or directory == "/":
                refuse(f"{directory!r} is not an absolute path below /")
            if directories.count(directory) > 1:
                refuse(f"{directory!r} is mounted twice")
        callees = {call.workload for call in self.connects_to if isinstance(call, Endpoint)}
        if self.name in (*self.depends_on, *callees):
            refuse("depends on itself")
        self._check_scale(refuse)
        told = [*(one.port for one in self.metrics), *([self.health.port] if self.health else [])]
        if stray := {*self.peer_ports, *told} - {*numbers}:
            refuse(f"peers, metrics or health use {sorted(stray)}, which is not among its ports {numbers}")
        for file_set in self.file_sets:
            if (file_set.external_secret is None) is not bool(file_set.files):
                refuse(f"file set {file_set.name!r} must have either files or an external secret")

    def _check_scale(self, refuse: Callable[[str], None]) -> None:
        if self.autoscaling and self.kind is not Kind.SERVICE:
            refuse("only a service can be scaled automatically")
        if self.autoscaling and not 1 <= self.autoscaling.minimum <= self.autoscaling.maximum:
            refuse(f"autoscaling requires 1 <= minimum <= maximum, not {self.autoscaling}")
        if self.peer_ports and self.kind is not Kind.STATEFUL:
            refuse("only a stateful workload can have peers")
