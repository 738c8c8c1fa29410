"""File systems that are mounted into a container."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pulumi


@dataclass(frozen=True, kw_only=True)
class FileSet:
    """A read-only directory of files. It hides the image's files at that path. A change replaces the container."""

    name: str
    """DNS label, different from the workload's other file sets'."""

    directory: str
    files: Mapping[str, pulumi.Input[str]] = field(default_factory=dict)
    """Maps file names to contents."""

    secret: bool = False
    """Whether the contents are secret: encrypted in the state, and never listed."""

    external_secret: str | None = None
    """Name of a secret that another party manages, instead of `files`: its keys are the file names. A change of it
    doesn't replace the container."""


@dataclass(frozen=True)
class FixedSetting:
    """A setting that can't change while a volume contains data."""

    key: str
    """Configuration key without the project's prefix."""

    value: str
    """The setting's value with which the volume's data was or will be created."""

    remedy: str
    """How to get another value: a sentence for the error message."""

    replaces: str | None = None
    """The only other value from which it may change to this one: the workload then takes over the data."""


@dataclass(frozen=True, kw_only=True)
class Volume:
    """A persistent volume. It outlives the container, the stack and the state."""

    name: str
    mount: str
    size_gib: int = 1
    """Requested size. Volumes that share one disk aren't limited to it."""

    fixed: tuple[FixedSetting, ...] = ()
    """Settings that can't change while the volume exists, each key once."""


@dataclass(frozen=True, kw_only=True)
class SharedVolume:
    """A volume of another workload, which must have the same user and one replica.

    Both may run at the same time. On a backend with several machines, this workload runs on the machine of a running
    owner, so that the volume can be mounted twice.
    """

    owner: str
    """Name of the workload that has the volume. It must be deployed before."""

    name: str
    """Name of the owner's volume."""

    mount: str
    writable: bool = False


@dataclass(frozen=True, kw_only=True)
class Scratch:
    """A writable directory in memory, empty at each start. Its content counts towards the memory limit."""

    path: str
    size_mib: int = 16
