"""What one container needs to run, in terms that every backend understands.

Structure (names, counts, ports, flags) is plain Python, so that a backend can decide on it while the program runs;
values that may only be known later or are secret are `pulumi.Input[str]`. A backend raises `WorkloadError` on what it
can't honour; it never leaves a field out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import PurePosixPath

import pulumi

NAME = re.compile(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?")


class WorkloadError(pulumi.RunError):
    """A workload that contradicts itself, or asks for what the backend can't give."""


class Kind(Enum):
    """How long it runs, and what becomes of its disk."""

    SERVICE = "service"
    """Runs until it is taken away; its containers are interchangeable."""

    STATEFUL = "stateful"
    """Runs until it is taken away; owns persistent volumes, one container at a time per volume."""

    TASK = "task"
    """Runs to its end once per change of its definition. Its failure fails the update, which runs it again."""


@dataclass(frozen=True, kw_only=True)
class HttpGet:
    """Answers when `http://localhost:{port}{path}` gives a status below 400."""

    port: int
    path: str


@dataclass(frozen=True, kw_only=True)
class TcpConnect:
    """Answers when the TCP port accepts a connection."""

    port: int


@dataclass(frozen=True, kw_only=True)
class Exec:
    """Answers when the command, run in the container, exits with 0."""

    command: tuple[str, ...]


Check = HttpGet | TcpConnect | Exec


@dataclass(frozen=True, kw_only=True)
class Probe:
    """The readiness probe: dependents start when it first answers."""

    check: Check
    startup_s: int = 60
    """Seconds the first answer may take before the update fails."""

    period_s: int = 5
    timeout_s: int = 3
    failures: int = 3
    """Consecutive failures after which it counts as not ready."""


@dataclass(frozen=True, kw_only=True)
class Port:
    """A TCP port the container listens on."""

    name: str
    number: int
    publish: int | None = None
    """Port of the host that leads to it, on the address of the backend's settings; None keeps it inside."""


@dataclass(frozen=True, kw_only=True)
class FileSet:
    """A read-only directory of files. It hides what the image has there; a change replaces the container."""

    name: str
    """DNS label, different from the workload's other file sets'."""

    directory: str
    files: Mapping[str, pulumi.Input[str]]
    """File name to content."""

    secret: bool = False
    """Whether the contents are secret: kept encrypted in the state, absent from every listing."""


@dataclass(frozen=True, kw_only=True)
class Volume:
    """A persistent volume. It outlives the container, the stack and the state."""

    name: str
    mount: str


@dataclass(frozen=True, kw_only=True)
class Scratch:
    """A writable directory in memory, empty at every start."""

    path: str
    size_mib: int = 16


@dataclass(frozen=True, kw_only=True)
class Workload:
    """One container and everything it needs.

    Raises:
        WorkloadError: when fields contradict each other.
    """

    name: str
    """DNS label; the host name under which callers reach it."""

    image: str
    """Image reference with an exact tag or a digest."""

    user: int
    """Numeric user (and group) id of the processes."""

    memory_mib: int
    """Memory limit in MiB; a process that needs more is killed."""

    kind: Kind = Kind.SERVICE
    cpus: float | None = None
    """CPU limit in cores; None leaves it open."""

    replicas: int = 1
    command: tuple[str, ...] = ()
    """Replaces the image's entry point; empty keeps it."""

    arguments: tuple[str, ...] = ()
    environment: Mapping[str, pulumi.Input[str]] = field(default_factory=dict)
    secret_environment: Mapping[str, pulumi.Input[str]] = field(default_factory=dict)
    """Like `environment`, kept encrypted. Prefer a secret `FileSet` where the image reads files."""

    ports: tuple[Port, ...] = ()
    file_sets: tuple[FileSet, ...] = ()
    volumes: tuple[Volume, ...] = ()
    scratch: tuple[Scratch, ...] = ()
    read_only_root: bool = True
    """False only for an image that can't run otherwise."""

    readiness: Probe | None = None
    needs: tuple[str, ...] = ()
    """Workloads that must be ready (tasks: have succeeded) before this one starts."""

    calls: tuple[str, ...] = ()
    """Workloads it opens connections to; nothing else reaches them."""

    stop_grace_s: int = 10
    """Seconds between the request to stop and the kill."""

    timeout_s: int = 120
    """Tasks only: seconds it may take."""

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
            refuse("a task has no readiness probe, ports or replicas: it is done when its command exits with 0")
        if self.kind is Kind.TASK and not self.command:
            refuse("a task states its command")
        if self.volumes and self.kind is not Kind.STATEFUL:
            refuse("persistent volumes belong to a stateful workload")
        numbers = [port.number for port in self.ports]
        if len(set(numbers)) != len(numbers):
            refuse(f"a port number stands twice in {numbers}")
        check = self.readiness.check if self.readiness else None
        if isinstance(check, (HttpGet, TcpConnect)) and check.port not in numbers:
            refuse(f"the readiness probe asks port {check.port}, which is not among its ports {numbers}")
        labels = [file_set.name for file_set in self.file_sets]
        if not all(map(NAME.fullmatch, labels)) or len(set(labels)) != len(labels):
            refuse(f"each file set needs a DNS label of its own as its name, not {labels}")
        directories = [
            *(file_set.directory for file_set in self.file_sets),
            *(volume.mount for volume in self.volumes),
            *(scratch.path for scratch in self.scratch),
        ]
        for directory in directories:
            if not PurePosixPath(directory).is_absolute() or directory == "/":
                refuse(f"{directory!r} is not an absolute path below the root")
            if directories.count(directory) > 1:
                refuse(f"{directory!r} is mounted twice")
        twice = self.environment.keys() & self.secret_environment.keys()
        if twice:
            refuse(f"{', '.join(sorted(twice))} stands in both environment and secret_environment")
        if self.name in (*self.needs, *self.calls):
            refuse("needs or calls itself")
