"""A workload as arguments of a Docker container."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi
import pulumi_docker as docker

from workloads import Check, Exec, FileSet, HttpGet, Kind, Scratch, Workload

# A task's container stays up after success, so that its health check can hold back dependents. /dev/shm is writable
# for every user also under a read-only root.
TASK_SUCCEEDED = "/dev/shm/task-succeeded"  # noqa: S108 - private to the container
RUN_TASK = f'if "$@"; then : > {TASK_SUCCEEDED}; exec sleep infinity; else exit "$?"; fi'
TASK_PERIOD_S = 2


@dataclass(frozen=True)
class Mount:
    """A volume in a container."""

    volume: pulumi.Input[str]
    target: str
    contents: pulumi.Input[str] | None = None
    """For a volume of files: a value that changes with them. Such a volume is mounted read-only."""


@dataclass(frozen=True)
class Placement:
    """What the engine gives a workload's container: names, labels, networks, volumes."""

    name: str
    image_id: pulumi.Input[str]
    labels: Mapping[str, str]
    bind_address: str
    networks: Sequence[docker.ContainerNetworksAdvancedArgs]
    mounts: Sequence[Mount]


def arguments(workload: Workload, placed: Placement) -> docker.ContainerArgs:
    """The container that runs a workload."""
    is_task = workload.kind is Kind.TASK
    contents = {
        f"pti-calendar.files{mount.target.replace('/', '.')}": mount.contents
        for mount in placed.mounts
        if mount.contents is not None
    }
    probe = workload.readiness
    return docker.ContainerArgs(
        name=placed.name,
        hostname=workload.name,
        image=placed.image_id,
        entrypoints=["sh", "-c", RUN_TASK, "task", *workload.command] if is_task else list(workload.command) or None,
        command=list(workload.arguments) or None,
        envs=_environment(workload),
        user=f"{workload.user}:{workload.user}",
        init=True,
        read_only=workload.read_only_root,
        capabilities=docker.ContainerCapabilitiesArgs(drops=["ALL"]),
        security_opts=["no-new-privileges:true"],
        tmpfs={scratch.path: _tmpfs(scratch, workload.user) for scratch in workload.scratch} or None,
        mounts=[_mount(mount) for mount in placed.mounts] or None,
        networks_advanced=list(placed.networks),
        ports=[
            docker.ContainerPortArgs(internal=port.number, external=port.publish, ip=placed.bind_address)
            for port in workload.ports
            if port.publish is not None
        ]
        or None,
        memory=workload.memory_mib,
        # Without it the provider finds a difference at every preview; the same figure means no swap.
        memory_swap=workload.memory_mib,
        cpus=None if workload.cpus is None else str(workload.cpus),
        restart="no" if is_task else "unless-stopped",
        healthcheck=_health(workload),
        wait=is_task or probe is not None,
        wait_timeout=workload.timeout_s if is_task else probe.startup_s if probe else None,
        stop_timeout=workload.stop_grace_s,
        # The provider's own default is 0: a database would be killed instead of stopped.
        destroy_grace_seconds=workload.stop_grace_s,
        log_driver="json-file",
        log_opts={"max-size": "10m", "max-file": "3"},
        labels=_labels({**placed.labels, **contents}),
    )


def uploader_arguments(file_set: FileSet, placed: Placement) -> docker.ContainerArgs:
    """The container that puts a file set into its volume when it is created, and never starts."""
    (mount,) = placed.mounts
    return docker.ContainerArgs(
        name=placed.name,
        image=placed.image_id,
        entrypoints=["true"],
        start=False,
        must_run=False,
        network_mode="none",
        mounts=[_mount(mount)],
        uploads=[
            docker.ContainerUploadArgs(
                file=f"{file_set.directory}/{name}",
                content=_secret(content) if file_set.secret else content,
                # Owned by root. Only this workload mounts the volume, and its one user reads it.
                permissions="0444",
            )
            for name, content in sorted(file_set.files.items())
        ],
        labels=_labels(placed.labels),
    )


def _environment(workload: Workload) -> list[pulumi.Input[str]] | None:
    entries = {name: pulumi.Output.concat(name, "=", value) for name, value in workload.environment.items()}
    for name, value in workload.secret_environment.items():
        entries[name] = _secret(pulumi.Output.concat(name, "=", value))
    return [entries[name] for name in sorted(entries)] or None


def _secret(value: pulumi.Input[str]) -> pulumi.Output[str]:
    return pulumi.Output.secret(value)


def _tmpfs(scratch: Scratch, user: int) -> str:
    # The owner too: over a directory of the image, runc before 1.2 keeps that directory's mode whatever is asked for.
    return f"rw,exec,nosuid,nodev,size={scratch.size_mib}m,mode=1777,uid={user},gid={user}"


def _mount(mount: Mount) -> docker.ContainerMountArgs:
    return docker.ContainerMountArgs(type="volume", source=mount.volume, target=mount.target)


def _labels(labels: Mapping[str, pulumi.Input[str]]) -> list[docker.ContainerLabelArgs]:
    return [docker.ContainerLabelArgs(label=label, value=value) for label, value in sorted(labels.items())]


def _health(workload: Workload) -> docker.ContainerHealthcheckArgs | None:
    if workload.kind is Kind.TASK:
        return docker.ContainerHealthcheckArgs(
            tests=["CMD", "test", "-f", TASK_SUCCEEDED],
            interval=f"{TASK_PERIOD_S}s",
            timeout="3s",
            # Not "unhealthy" before its time is up.
            retries=workload.timeout_s // TASK_PERIOD_S + 1,
        )
    if workload.readiness is None:
        return None
    probe = workload.readiness
    return docker.ContainerHealthcheckArgs(
        tests=_test(probe.check),
        interval=f"{probe.period_s}s",
        timeout=f"{probe.timeout_s}s",
        retries=max(probe.failures, probe.startup_s // probe.period_s),
    )


def _test(check: Check) -> list[str]:
    """A probe as a command in the container: Docker has no probes of its own, images have one tool or another."""
    if isinstance(check, Exec):
        return ["CMD", *check.command]
    if isinstance(check, HttpGet):
        url = shlex.quote(f"http://127.0.0.1:{check.port}{check.path}")
        return ["CMD-SHELL", f"wget -q -O /dev/null {url} || curl -fsS -o /dev/null {url}"]
    return ["CMD-SHELL", f"bash -c '</dev/tcp/127.0.0.1/{check.port}' || nc -z 127.0.0.1 {check.port}"]
