"""What one container needs to run, in terms that every backend understands.

A workload is a `Service`, `StatefulService`, `Task` or `ScheduledTask`. Each kind only has the fields that apply to it.

Structure (names, counts, ports, flags) is plain Python, so that a backend can decide on it while the program runs;
values that are secret or only known later are `pulumi.Input[str]`. A backend raises `WorkloadError` for a field that it
doesn't support; it never ignores one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import NoReturn

import pulumi

from workloads.checks import HttpGet, Liveness, Probe, TcpConnect
from workloads.connections import Endpoint, ExternalEndpoint, Health, Metrics, Port
from workloads.disk import FileSet, Scratch, SharedVolume, Volume
from workloads.schedule import cron_problem

NAME_PATTERN = re.compile(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?")


MINIMUM_START_DEADLINE_S = 60
"""Minimum of `ScheduledTask.start_deadline_s`. A scheduler that checks less often than every minute would miss
runs."""


class WorkloadError(pulumi.RunError):
    """A workload is inconsistent, or needs something that the backend doesn't support."""


@dataclass(frozen=True, kw_only=True)
class Autoscaling:
    """Limits and target of horizontal autoscaling."""

    minimum: int
    maximum: int
    cpu_percent: int
    """Target CPU use, in percent of the CPU request."""


@dataclass(frozen=True, kw_only=True)
class LoadBalancer:
    """Options of the load balancer in front of a workload's public ports."""

    annotations: Mapping[str, str] = field(default_factory=dict)
    controller: str | None = None
    """Controller that creates the load balancer; None: the platform's default."""

    keeps_client_address: bool = True
    """Whether the workload sees its clients' addresses. Each client is then served by a replica on the node that it
    reaches."""

    source_ranges: tuple[str, ...] = ()
    """Addresses of the clients that may connect; empty: all."""


@dataclass(frozen=True, kw_only=True)
class Workload:
    """A container and what each kind of workload has. Create one of the kinds.

    Raises:
        WorkloadError: fields contradict each other.
    """

    name: str
    """DNS label, which is also the host name for clients."""

    image: str
    """Image reference with an exact tag or a digest."""

    has_upstream_image: bool = True
    """Whether the image comes from another project, so that a mirror of its whole registry contains it."""

    user: int
    """Numeric user (and group) id of the processes."""

    memory_mib: int
    """Memory limit in MiB; a process that needs more is killed."""

    cpu_request: float = 0.05
    """CPU request in cores. There is no limit: a workload may use the CPU time that others leave."""

    command: tuple[str, ...]
    """Overrides the image's entry point."""

    arguments: tuple[str, ...] = ()
    environment: Mapping[str, pulumi.Input[str]] = field(default_factory=dict)
    """Environment variables without secrets, which belong in a secret `FileSet`, because no listing shows its
    content."""

    file_sets: tuple[FileSet, ...] = ()
    scratch: tuple[Scratch, ...] = ()
    shared_volumes: tuple[SharedVolume, ...] = ()
    """Volumes of other workloads."""

    read_only_root: bool = True
    """False only if the image can't run with a read-only root file system."""

    depends_on: tuple[str, ...] = ()
    """Workloads that must be ready (tasks: completed) before this one starts. A scheduled task can't be one of them."""

    connects_to: tuple[Endpoint | ExternalEndpoint, ...] = ()
    """The endpoints that the workload connects to. No other connections are allowed."""

    host_gateway: bool = False
    """Whether the workload connects to the machine that the platform runs on, such as a developer's laptop, by the
    name `Addressing.host_gateway`."""

    reads_node_metrics: bool = False
    """Whether the workload may list the platform's machines and read their metrics, with its own credentials."""

    reads_deployed_objects: bool = False
    """Whether the workload may list and watch the platform's workloads and volumes, but no secrets."""

    stop_grace_s: int = 10
    """Seconds between SIGTERM and SIGKILL."""

    @property
    def ports(self) -> tuple[Port, ...]:
        """Ports that the workload listens on: none, unless its kind has the field."""
        return ()

    @property
    def volumes(self) -> tuple[Volume, ...]:
        """Persistent volumes: none, unless its kind has the field."""
        return ()

    def __post_init__(self) -> None:
        if not NAME_PATTERN.fullmatch(self.name):
            self._refuse("the name must be a DNS label of at most 40 lower-case letters, digits and '-'")
        if self.user == 0:
            self._refuse("must not run as root (user 0)")
        labels = [file_set.name for file_set in self.file_sets]
        if not all(map(NAME_PATTERN.fullmatch, labels)) or len(set(labels)) != len(labels):
            self._refuse(f"each file set requires a unique DNS label as its name, not {labels}")
        for file_set in self.file_sets:
            if (file_set.external_secret is None) is not bool(file_set.files):
                self._refuse(f"file set {file_set.name!r} must have either files or an external secret")
        directories = [
            *(file_set.directory for file_set in self.file_sets),
            *(volume.mount for volume in self.volumes),
            *(scratch.path for scratch in self.scratch),
            *(shared.mount for shared in self.shared_volumes),
        ]
        for directory in directories:
            if not PurePosixPath(directory).is_absolute() or directory == "/":
                self._refuse(f"{directory!r} is not an absolute path below /")
            if directories.count(directory) > 1:
                self._refuse(f"{directory!r} is mounted twice")
        names = [*(volume.name for volume in self.volumes), *(shared.name for shared in self.shared_volumes)]
        if len(set(names)) != len(names):
            self._refuse(f"each volume requires a unique name, not {names}")
        for volume in self.volumes:
            keys = [fixed.key for fixed in volume.fixed]
            if "" in keys or len(set(keys)) != len(keys):
                self._refuse(f"volume {volume.name!r} requires a unique key for each fixed setting, not {keys}")
        callees = {call.workload for call in self.connects_to if isinstance(call, Endpoint)}
        if self.name in (*self.depends_on, *callees, *(shared.owner for shared in self.shared_volumes)):
            self._refuse("depends on itself")

    def _refuse(self, reason: str) -> NoReturn:
        raise WorkloadError(f"workload {self.name!r}: {reason}")


@dataclass(frozen=True, kw_only=True)
class LongRunning(Workload):
    """What a service and a stateful service share: they run until they are removed."""

    command: tuple[str, ...] = ()
    """Overrides the image's entry point; empty keeps it."""

    replicas: int = 1
    ports: tuple[Port, ...] = ()
    readiness: Probe | None = None
    liveness: Liveness | None = None
    metrics: tuple[Metrics, ...] = ()
    """Metrics to scrape; a multi-target exporter has one entry per target."""

    health: Health | None = None
    """Health endpoint for monitoring, for a workload without metrics."""

    @property
    def min_replicas(self) -> int:
        """Minimum number of replicas."""
        return self.replicas

    @property
    def max_replicas(self) -> int:
        """Maximum number of replicas."""
        return self.replicas

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.replicas < 1:
            self._refuse(f"replicas must be at least 1, not {self.replicas}")
        if closed := [port.name for port in self.ports if port.public and port.publish is None]:
            self._refuse(f"the public ports {closed} need the port number that users connect to (publish)")
        numbers = [port.number for port in self.ports]
        if len(set(numbers)) != len(numbers):
            self._refuse(f"there is a duplicate port number in {numbers}")
        if self.liveness and not self.readiness:
            self._refuse("a liveness probe requires a readiness probe, which decides when clients are routed to it")
        for name, probe in (("readiness", self.readiness), ("liveness", self.liveness)):
            if probe and isinstance(probe.check, (HttpGet, TcpConnect)) and probe.check.port not in numbers:
                self._refuse(f"the {name} probe checks port {probe.check.port}, which is not among its ports {numbers}")
        used_ports = [*(one.port for one in self.metrics), *([self.health.port] if self.health else [])]
        self._require_ports("metrics or health use", used_ports)

    def _require_ports(self, who: str, used: Iterable[int]) -> None:
        numbers = [port.number for port in self.ports]
        if stray := {*used} - {*numbers}:
            self._refuse(f"{who} {sorted(stray)}, which is not among its ports {numbers}")


@dataclass(frozen=True, kw_only=True)
class Service(LongRunning):
    """A workload whose replicas are interchangeable."""

    autoscaling: Autoscaling | None = None
    """Controls the number of replicas, instead of `replicas`."""

    load_balancer: LoadBalancer | None = None
    """Options for the public ports; None: the defaults."""

    @property
    def min_replicas(self) -> int:
        """Minimum number of replicas."""
        return self.autoscaling.minimum if self.autoscaling else self.replicas

    @property
    def max_replicas(self) -> int:
        """Maximum number of replicas."""
        return self.autoscaling.maximum if self.autoscaling else self.replicas

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.autoscaling and not 1 <= self.autoscaling.minimum <= self.autoscaling.maximum:
            self._refuse(f"autoscaling requires 1 <= minimum <= maximum, not {self.autoscaling}")


@dataclass(frozen=True, kw_only=True)
class StatefulService(LongRunning):
    """A workload that owns persistent volumes, each used by one container at a time."""

    volumes: tuple[Volume, ...] = ()
    peer_ports: tuple[int, ...] = ()
    """Ports on which its replicas reach each other, each as `<name>-<number from 0>.<name>-peers`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require_ports("peers use", self.peer_ports)


@dataclass(frozen=True, kw_only=True)
class Task(Workload):
    """A workload that runs to completion when its definition changes.

    If it fails, the update fails and the next one runs it again.
    """

    timeout_s: int = 120
    """Maximum run time of an attempt, in seconds."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.command:
            self._refuse("a task requires a command")


@dataclass(frozen=True, kw_only=True)
class ScheduledTask(Task):
    """A task that runs on a schedule, and not during an update.

    Runs never overlap: if one is due while the previous one runs, it waits for at most `start_deadline_s`. A failed run
    is retried as a task is on the backend; the next run starts at its scheduled time.
    """

    schedule: str
    """Cron expression of five fields in UTC, such as `30 2 * * *` for 02:30 every day. If both day fields restrict the
    days, one of them is enough."""

    start_deadline_s: int = 3600
    """Seconds after the scheduled time within which a missed or waiting run may still start."""

    volumes: tuple[Volume, ...] = ()
    """Persistent volumes that all runs share."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if problem := cron_problem(self.schedule):
            self._refuse(f"the schedule {self.schedule!r} is not a cron expression: {problem}")
        if self.start_deadline_s < MINIMUM_START_DEADLINE_S:
            self._refuse(f"start_deadline_s must be at least {MINIMUM_START_DEADLINE_S}, not {self.start_deadline_s}")
