"""A workload as arguments of a Docker container."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, cast

import pulumi
import pulumi_docker as docker

from backends.docker.health import TASK_SCRIPT, health_check
from workloads import FileSet, Scratch, Task, Workload, WorkloadError


@dataclass(frozen=True)
class Mount:
    """A volume in a container."""

    volume: pulumi.Input[str]
    target: str
    read_only: bool = False
    contents: pulumi.Input[str] | None = None
    """For a volume of files, which is mounted read-only: a value that changes with the files."""


HOST_GATEWAY = "host.docker.internal"
"""Host name of the engine's machine, as in Docker Desktop."""


@dataclass(frozen=True)
class ContainerContext:
    """The engine's objects for a workload's container: names, labels, networks, volumes."""

    name: pulumi.Input[str]
    image_id: pulumi.Input[str]
    labels: pulumi.Input[Mapping[str, str]]
    bind_address: str
    admin_publish_address: str
    """Host address on which admin ports are published."""

    networks: Sequence[docker.ContainerNetworksAdvancedArgs]
    mounts: Sequence[Mount]


def arguments(workload: Workload, context: ContainerContext) -> docker.ContainerArgs:
    """Return the arguments of the container that runs a workload."""
    task = workload if isinstance(workload, Task) else None
    contents = {
        f"pti-calendar.files{mount.target.replace('/', '.')}": mount.contents
        for mount in context.mounts
        if mount.contents is not None
    }
    return docker.ContainerArgs(
        name=context.name,
        hostname=workload.name,
        image=context.image_id,
        entrypoints=["sh", "-c", TASK_SCRIPT, "task", *workload.command] if task else list(workload.command) or None,
        command=list(workload.arguments) or None,
        envs=_environment(workload),
        user=f"{workload.user}:{workload.user}",
        init=True,
        read_only=workload.read_only_root,
        capabilities=docker.ContainerCapabilitiesArgs(drops=["ALL"]),
        security_opts=["no-new-privileges:true"],
        tmpfs={scratch.path: _tmpfs(scratch, workload.user) for scratch in workload.scratch} or None,
        mounts=[_mount(mount) for mount in context.mounts] or None,
        networks_advanced=list(context.networks),
        # `host-gateway` resolves to the host's address on the engine's bridge, since engine 20.10.
        hosts=[docker.ContainerHostArgs(host=HOST_GATEWAY, ip="host-gateway")] if workload.host_gateway else None,
        ports=[
            docker.ContainerPortArgs(
                internal=port.number,
                external=port.publish,
                ip=context.admin_publish_address if port.admin_only else context.bind_address,
            )
            for port in workload.ports
            if port.publish is not None
        ]
        or None,
        memory=workload.memory_mib,
        # Without `memory_swap`, the provider finds a difference in every preview. With the value of `memory`, there is
        # no swap.
        memory_swap=workload.memory_mib,
        cpu_shares=_cpu_shares(workload.cpu_request),
        restart="no" if task else "unless-stopped",
        healthcheck=health_check(workload),
        # The provider only waits for tasks; `Readiness` waits for all other containers.
        wait=task is not None,
        wait_timeout=task.timeout_s if task else None,
        stop_timeout=workload.stop_grace_s,
        # The provider's own default is 0: a database would be killed instead of stopped.
        destroy_grace_seconds=workload.stop_grace_s,
        log_driver="json-file",
        log_opts={"max-size": "10m", "max-file": "3"},
        labels=_labels(context.labels, contents),
    )


def override(arguments: docker.ContainerArgs, overrides: Mapping[str, Any], *, workload: str) -> None:
    """Set inputs of a container. A mapping is merged, any other value replaces the current one.

    Raises:
        WorkloadError: the provider has no such input.
    """
    for name, value in overrides.items():
        if not isinstance(getattr(docker.ContainerArgs, name, None), property):
            raise WorkloadError(f"workload {workload!r}: a Docker container has no input {name!r}; see pulumi_docker")
        former = getattr(arguments, name)
        merges = isinstance(former, Mapping) and isinstance(value, Mapping)
        setattr(arguments, name, {**former, **value} if merges else value)


def uploader_arguments(workload: Workload, file_set: FileSet, context: ContainerContext) -> docker.ContainerArgs:
    """Return the arguments of the container that copies a file set into its volume at creation and never starts.

    The engine creates an anonymous volume for each VOLUME of the image without a mount. Therefore each mount point of
    the workload's own container is covered here, too, by a tmpfs that is never created.
    """
    (mount,) = context.mounts
    others = [
        *(volume.mount for volume in workload.volumes),
        *(shared.mount for shared in workload.shared_volumes),
        *(scratch.path for scratch in workload.scratch),
    ]
    covered = [path for path in others if not PurePosixPath(file_set.directory).is_relative_to(path)]
    uploads: pulumi.Input[Sequence[pulumi.Input[docker.ContainerUploadArgs]]] = [
        docker.ContainerUploadArgs(
            file=f"{file_set.directory}/{name}",
            content=content,
            # The files belong to root. Only this workload mounts the volume, and its only user reads them.
            permissions="0444",
        )
        for name, content in sorted(file_set.files.items())
    ]
    return docker.ContainerArgs(
        name=context.name,
        image=context.image_id,
        entrypoints=["true"],
        start=False,
        must_run=False,
        network_mode="none",
        tmpfs=dict.fromkeys(covered, "size=64k") or None,
        mounts=[_mount(mount)],
        uploads=_secret(uploads) if file_set.secret else uploads,
        labels=_labels(context.labels),
    )


def _environment(workload: Workload) -> list[pulumi.Input[str]] | None:
    # An output of a plain text takes five tasks of the event loop, and most values are plain.
    return [
        f"{name}={value}" if isinstance(value, str) else pulumi.Output.concat(name, "=", value)
        for name, value in sorted(workload.environment.items())
    ] or None


def _secret(values: Any) -> pulumi.Output[Any]:
    """Return a list that is secret as a whole, as the provider stores it. If only its elements were secret, a value
    that is unknown in a preview wouldn't be secret there, and the update would violate the saved plan."""
    return pulumi.Output.secret(values)


def _cpu_shares(cores: float) -> int:
    """Return the CPU weight of a number of cores, as computed by the kubelet (`MilliCPUToShares` in
    pkg/kubelet/cm/helpers_linux.go): 1024 per core, at least 2."""
    return max(2, round(cores * 1000) * 1024 // 1000)


def _tmpfs(scratch: Scratch, user: int) -> str:
    # The mode alone isn't enough: over a directory of the image, runc before 1.2 keeps that directory's mode.
    return f"rw,exec,nosuid,nodev,size={scratch.size_mib}m,mode=1777,uid={user},gid={user}"


def _mount(mount: Mount) -> docker.ContainerMountArgs:
    return docker.ContainerMountArgs(
        type="volume", source=mount.volume, target=mount.target, read_only=True if mount.read_only else None
    )


def _labels(
    labels: pulumi.Input[Mapping[str, str]], contents: Mapping[str, pulumi.Input[str]] | None = None
) -> pulumi.Output[list[docker.ContainerLabelArgs]]:
    # A new value in `contents` is unknown in a preview. If the whole list were unknown, the provider would plan an
    # update instead of a replacement, and a saved plan would refuse the replacement.
    values = contents or {}
    listed = pulumi.Output.from_input(labels).apply(
        lambda known: [
            docker.ContainerLabelArgs(label=label, value=value)
            for label, value in sorted({**known, **values}.items(), key=lambda item: item[0])
        ]
    )
    # The labels of a new stack are unknown in its preview. Its saved plan must nevertheless contain the dependencies.
    resources = pulumi.Output.all(labels, values).resources()
    future = cast(Awaitable[list[docker.ContainerLabelArgs]], listed.future())
    return pulumi.Output(resources, future, listed.is_known(), listed.is_secret())
