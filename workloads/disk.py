"""What a container finds on its disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pulumi


@dataclass(frozen=True, kw_only=True)
class FileSet:
    """A read-only directory of files. It hides what the image has there; a change replaces the container."""

    name: str
    """DNS label, different from the workload's other file sets'."""

    directory: str
    files: Mapping[str, pulumi.Input[str]] = field(default_factory=dict)
    """File name to content."""

    secret: bool = False
    """Whether the contents are secret: kept encrypted in the state, absent from every listing."""

    existing_secret: str | None = None
    """Name of a Kubernetes Secret that somebody else keeps, in place of `files`: its keys are the file names. The
    container isn't replaced when it changes. Docker knows no such thing and raises."""


@dataclass(frozen=True)
class Fixed:
    """A setting that can't change while a volume holds data."""

    key: str
    """Configuration key without the project's prefix, for instance `kafka.brokers`."""

    value: str
    """What the volume's data was, or will be, made with."""

    remedy: str
    """What a person does who wants another value: a sentence for the error message."""


@dataclass(frozen=True, kw_only=True)
class Volume:
    """A persistent volume. It outlives the container, the stack and the state."""

    name: str
    mount: str
    size_gib: int = 1
    """Requested size. On Docker, volumes share the engine's disk."""

    fixed: tuple[Fixed, ...] = ()
    """Settings that must stay as they are while the volume exists, each key once."""


@dataclass(frozen=True, kw_only=True)
class Scratch:
    """A writable directory in memory, empty at every start; what is in it counts as the workload's memory."""

    path: str
    size_mib: int = 16
