"""Workloads on one Docker engine, through the Docker provider.

Per workload: a network that only it and its clients join, if it has ports; a volume per file set, filled by a
container that never starts; its persistent volumes; and its container. Names are fixed (`pti-postgres-dev`), so that
operators recognise them and a retained volume is found again.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Network
from typing import Any

import pulumi
import pulumi_docker as docker

from backends.base import Addressing, DeployOptions
from backends.data_records import DataRecords, after_records, volume_settings
from backends.deployment_graph import DeploymentGraph
from backends.docker import container
from backends.docker.container import HOST_GATEWAY, ContainerContext, Mount
from backends.docker.endpoint import EngineEndpoint
from backends.docker.engine import (
    DATA_LABEL,
    FILES,
    PERSISTENT,
    SCHEDULE_LABEL,
    STACK_LABEL,
    WORKLOAD_LABEL,
    Engine,
    EngineError,
)
from backends.docker.hooks import Hooks
from backends.docker.identity import StackIdentity
from backends.docker.images import Images
from backends.docker.ownership import Ownership
from backends.docker.platform import check_platform, platform_of
from backends.docker.ports import check
from backends.docker.ranges import KnownRanges, NetworkRanges, bridge_address
from backends.docker.readiness import AwaitedContainer, Readiness
from backends.docker.schedule import scheduler
from backends.docker.volumes import DataVolumes
from backends.refusals import refuse_unsupported
from backends.threads import Threads
from settings import Settings
from settings.backend import BackendSettings, ImagesSettings
from workloads import Endpoint, FileSet, LongRunning, ScheduledTask, Task, Workload, WorkloadError

LOOPBACK = "127.0.0.1"


class EngineUnreachable(pulumi.RunError):
    """The engine of the configuration doesn't respond."""


def create(settings: Settings, stack: str) -> DockerBackend:
    """Return the backend of a stack's settings."""
    return DockerBackend(settings.backend, settings.images, stack=stack, protect=settings.protect)


class DockerBackend:
    """Runs workloads on a Docker engine.

    These fields have no effect, and none is needed: peers (one replica has none), a volume's size (it may use the
    engine's whole disk), metrics (any client of the port can read them), whether a port is public (it is bound to the
    same address as the stores').

    Args:
        settings: the engine and the address that published ports bind to.
        images: the mirrors that images are pulled from.
        stack: part of every name, so that several stacks can share an engine.
        protect: whether persistent volumes are protected from deletion.
    """

    kind = "docker"
    edge = certificate_issuer = postgres_operator = None

    def __init__(self, settings: BackendSettings, images: ImagesSettings, *, stack: str, protect: bool) -> None:
        self._bind_address = str(settings.bind_address)
        # Admin ports stay on loopback, even if the stores are published on the network.
        self._admin_publish_address = self._bind_address if settings.bind_address.is_loopback else LOOPBACK
        # An admin port listens on every address of its container. The workload's clients can reach it too, because
        # Docker has no rules per port.
        every = "0.0.0.0"  # noqa: S104 - in the container
        self.addressing = Addressing(
            admin_bind_address=every, published_host=settings.published_address, host_gateway=HOST_GATEWAY
        )
        self._mirrors = images
        self._stack = stack
        self._protect = protect
        self._engine = Engine(settings.host)
        threads = Threads()
        self._identity = StackIdentity(self._engine, threads, stack)
        self._ownership = Ownership(self._engine, threads, stack, self._identity)
        self._hooks = Hooks(self._engine, threads, self._ownership)
        self._data_volumes = DataVolumes(self._engine, threads, self._ownership)
        self._readiness = Readiness(self._engine, threads, stack)
        self._records = DataRecords()
        self._pulls = Images(self._engine)
        self._images: dict[str, docker.RemoteImage] = {}
        self._network_pool = settings.network_pool
        self._engine_ranges: KnownRanges = {}
        self._network_names: list[str] = []
        self._networks: dict[str, docker.Network] = {}
        self._containers: dict[str, docker.Container] = {}
        self._volumes: dict[str, docker.Volume] = {}
        self._ready: dict[str, pulumi.Stash] = {}
        self._graph = DeploymentGraph()
        self._owners: dict[tuple[str, str], str] = {}

    @property
    def _endpoint(self) -> EngineEndpoint | None:
        """The engine's endpoint; None if the docker command's configuration has none, which `preflight` reports."""
        try:
            return self._engine.endpoint
        except EngineError:
            return None

    @functools.cached_property
    def _provider(self) -> docker.Provider:
        endpoint = self._endpoint
        return docker.Provider(
            "docker",
            host=self._identity.checked(endpoint.address if endpoint else None),
            # Without `context`, the provider uses `DOCKER_CONTEXT` instead of the host.
            context="",
            cert_path=(endpoint.certificates if endpoint else None) or "",
            # Disable the check, so that a preview of an engine over SSH needs no connection.
            disable_docker_daemon_check=True,
        )

    def preflight(self, published: Iterable[tuple[str, int]]) -> None:
        """Check that the engine is reachable and the host ports are free. See `Backend.preflight`.

        Raises:
            EngineUnreachable: the engine doesn't respond. A preview only warns if the engine is reached over SSH;
                otherwise the provider would fail next ("failed to connect to any docker daemon").
            UnsupportedEngine: in an update, if the engine is Podman.
            PortsTaken: in an update, if another process uses a port; names each key.
            WorkloadError: other networks use the whole pool of address ranges.
        """
        try:
            endpoint = self._engine.endpoint
        except EngineError as error:
            raise EngineUnreachable(f"{error}\nNothing has been changed.") from None
        self._identity.begin()
        ports = list(published)
        with ThreadPoolExecutor(2) as threads:
            ranges = threads.submit(self._engine.network_ranges)
            platform = None if pulumi.runtime.is_dry_run() else threads.submit(platform_of, self._engine)
            check(ports, engine=self._engine, stack=self._stack, address=self._bind_address)
        if platform:
            calling = [workload.name for workload in self.deployed if workload.host_gateway]
            check_platform(platform.result(), address=endpoint.address, ports=ports, calling_host=calling)
        try:
            self._engine_ranges = ranges.result()
        except EngineError as error:
            reason = f"No Docker engine responds at {endpoint}:\n  {error}"
            if not pulumi.runtime.is_dry_run():
                raise EngineUnreachable(f"{reason}\nNothing has been changed.") from None
            if not self._engine.is_over_ssh:
                raise EngineUnreachable(f"{reason}\nThe Docker provider needs one for a preview, too.") from None
            pulumi.log.warn(f"{reason}\nThis preview is not compared with the engine.")
            return
        # Allocate them now: an exhausted pool then ends the program before anything is registered.
        _ = self._allocated_ranges

    def deploy(self, workload: Workload, options: DeployOptions) -> None:
        """Declare a workload's network, volumes and container. See `Backend.deploy`."""
        refuse_unsupported(workload, self.kind)
        self._graph.add(workload)
        labels = self._labels(workload)
        if isinstance(workload, ScheduledTask):
            labels[SCHEDULE_LABEL] = workload.schedule
            workload = scheduler(workload)
        # An external endpoint needs nothing: every bridge network has outbound access. Two ports of a workload share
        # one network.
        callees = dict.fromkeys(call.workload for call in workload.connects_to if isinstance(call, Endpoint))
        networks = [docker.ContainerNetworksAdvancedArgs(name=self._networks[callee].id) for callee in callees]
        # A workload without callers needs no network.
        if workload.ports or not networks:
            own = self._networks[workload.name] = self._network(workload, options)
            networks.insert(0, docker.ContainerNetworksAdvancedArgs(name=own.id, aliases=[workload.name]))
        name = self._unique_name("container", workload.name, workload)
        context = ContainerContext(
            name=after_records(name, *(self._ready[needed] for needed in workload.depends_on if needed in self._ready)),
            image_id=self._image(workload).image_id,
            labels=self._identity.with_labels(labels),
            bind_address=self._bind_address,
            admin_publish_address=self._admin_publish_address,
            networks=networks,
            mounts=[
                *self._persistent_volumes(workload, options),
                *(
                    Mount(self._volumes[shared.name].name, shared.mount, read_only=not shared.writable)
                    for shared in workload.shared_volumes
                ),
                *(self._file_volume(workload, file_set, options) for file_set in workload.file_sets),
            ],
        )
        is_task = isinstance(workload, Task)
        arguments = container.arguments(workload, context)
        container.override(arguments, options.overrides, workload=workload.name)
        self._containers[workload.name] = docker.Container(
            workload.name,
            arguments,
            options.resource_options(
                provider=self._provider,
                # The first container that mounts a new volume decides whom it belongs to: the owner's must be first.
                depends_on=[
                    self._containers[needed]
                    for needed in dict.fromkeys((*workload.depends_on, *(one.owner for one in workload.shared_volumes)))
                ],
                # Names and host ports are fixed: the old container must be removed first (pulumi/pulumi-docker#1356).
                delete_before_replace=True,
                # The provider would record a changed tmpfs or health check without changing the container
                # (kreuzwerker/terraform-provider-docker#988). A refresh marks a stopped container in `mustRun`; its
                # replacement is awaited until it is ready.
                replace_on_changes=["tmpfs"] if is_task else ["tmpfs", "healthcheck", "mustRun"],
                # A successful task needn't keep running: an engine that restarts doesn't start its container again.
                ignore_changes=["mustRun"] if is_task else None,
                hooks=self._hooks.for_container(
                    is_task=is_task,
                    checks=[self._data_volumes.before_container] if workload.volumes or workload.shared_volumes else [],
                ),
            ),
        )
        if isinstance(workload, LongRunning) and workload.readiness:
            awaited = AwaitedContainer(workload.name, name, workload.readiness.startup_s)
            self._ready[workload.name] = self._readiness.record(awaited, self._containers[workload.name].id, options)

    @property
    def deployed(self) -> Sequence[Workload]:
        """Return the workloads that are deployed so far. See `Backend.deployed`."""
        return tuple(self._graph.workloads)

    def _image(self, workload: Workload) -> docker.RemoteImage:
        """Return the image, which is pulled if it is missing. A new tag shows in the preview."""
        reference = workload.image
        if reference not in self._images:
            self._images[reference] = docker.RemoteImage(
                reference,
                name=self._mirrors.pulled(reference, is_upstream=workload.has_upstream_image),
                keep_locally=True,
                opts=pulumi.ResourceOptions(
                    provider=self._provider,
                    hooks=pulumi.ResourceHookBinding(before_create=[self._pulls.before_create]),
                ),
            )
        return self._images[reference]

    @functools.cached_property
    def _allocated_ranges(self) -> Mapping[str, IPv4Network]:
        """The ranges of all declared networks, by name. Needed once everything is declared."""
        ranges = NetworkRanges(self._network_pool, self._engine_ranges)
        return {name: ranges.allocate(name) for name in self._network_names}

    def _addresses(self, network: str) -> pulumi.Input[docker.NetworkIpamConfigArgs]:
        """Return the range of a network. It is unknown in a preview, so that a saved plan is valid on an engine with
        other networks."""
        if pulumi.runtime.is_dry_run():
            unknown: Any = pulumi.UNKNOWN
            return docker.NetworkIpamConfigArgs(subnet=unknown, gateway=unknown)

        def allocated(name: str) -> docker.NetworkIpamConfigArgs:
            addresses = self._allocated_ranges[name]
            return docker.NetworkIpamConfigArgs(subnet=str(addresses), gateway=str(bridge_address(addresses)))

        return pulumi.Output.from_input(network).apply(allocated)

    def _network(self, workload: Workload, options: DeployOptions) -> docker.Network:
        """Return the workload's network. Docker has no finer rules: every member may use every port."""
        name = self._name(workload.name)
        self._network_names.append(name)
        return docker.Network(
            workload.name,
            name=name,
            driver="bridge",
            # With only the range, the provider shows a difference after a refresh
            # (kreuzwerker/terraform-provider-docker#54).
            ipam_configs=[self._addresses(name)],
            labels=[docker.NetworkLabelArgs(label=k, value=v) for k, v in self._labels(workload).items()],
            opts=options.resource_options(
                provider=self._provider,
                # A network of an existing stack keeps its range: another one would replace it with all its containers.
                ignore_changes=["ipamConfigs"],
                delete_before_replace=True,
                hooks=self._hooks.for_network(),
            ),
        )

    def _persistent_volumes(self, workload: Workload, options: DeployOptions) -> Iterator[Mount]:
        """Return the data volumes. An existing volume with that name is adopted; only `make wipe` deletes one."""
        if not workload.volumes:
            return
        names = {volume.name: self._unique_name("volume", volume.name, workload) for volume in workload.volumes}
        labels = {**self._labels(workload), DATA_LABEL: PERSISTENT}
        child = f"{workload.name}-data-settings"
        record = self._records.record_settings(
            child,
            volume_settings(workload.volumes),
            options=options,
            before_create=[self._data_volumes.before_record(child, dict.fromkeys(names.values(), labels))],
        )
        hooks = self._data_volumes.recorded(record, child)
        for volume in workload.volumes:
            resource = self._volumes[volume.name] = docker.Volume(
                volume.name,
                name=after_records(names[volume.name], record),
                labels=self._volume_labels(workload, PERSISTENT),
                opts=options.resource_options(
                    provider=self._provider,
                    protect=self._protect,
                    retain_on_delete=True,
                    # An engine can't change labels: a volume that Compose or an operator created keeps its own.
                    ignore_changes=["labels"],
                    hooks=hooks,
                ),
            )
            yield Mount(resource.name, volume.mount)

    def _file_volume(self, workload: Workload, file_set: FileSet, options: DeployOptions) -> Mount:
        """Return a volume with the files, which a container that never starts copies into it.

        The engine refuses to copy files into a container whose root is read-only, even into one of its volumes. The
        container that copies them has a writable root, and `docker inspect` doesn't show the copied files.
        """
        child = f"{workload.name}-{file_set.name}"
        # One volume per set of file names, so that a removed file doesn't stay.
        names = hashlib.sha256("\n".join(sorted(file_set.files)).encode()).hexdigest()[:8]
        volume = docker.Volume(
            child,
            name=self._unique_name("volume", f"{child}-{names}", workload),
            labels=self._volume_labels(workload, FILES),
            opts=options.resource_options(
                provider=self._provider,
                hooks=pulumi.ResourceHookBinding(before_create=[self._ownership.before_create]),
            ),
        )
        context = ContainerContext(
            name=self._unique_name("container", child, workload),
            image_id=self._image(workload).image_id,
            labels=self._identity.with_labels(self._labels(workload)),
            bind_address=self._bind_address,
            admin_publish_address=self._admin_publish_address,
            networks=[],
            mounts=[Mount(volume.name, file_set.directory)],
        )
        uploader = docker.Container(
            child,
            container.uploader_arguments(workload, file_set, context),
            options.resource_options(
                provider=self._provider,
                delete_before_replace=True,
                replace_on_changes=["tmpfs"],
                hooks=self._hooks.for_container(is_task=False),
            ),
        )
        # New contents replace the uploader, and its new ID replaces the containers that mount them.
        return Mount(volume.name, file_set.directory, contents=uploader.id)

    def _unique_name(self, kind: str, part: str, workload: Workload) -> str:
        """Return the name of an object on the engine; refuse it if another workload uses the name."""
        owner = self._owners.setdefault((kind, part), workload.name)
        if owner != workload.name:
            raise WorkloadError(
                f"workloads {owner!r} and {workload.name!r} would share the {kind} {self._name(part)!r}"
            )
        return self._name(part)

    def _name(self, part: str) -> str:
        return f"pti-{part}-{self._stack}"

    def _labels(self, workload: Workload) -> dict[str, str]:
        return {STACK_LABEL: self._stack, WORKLOAD_LABEL: workload.name}

    def _volume_labels(self, workload: Workload, data: str) -> list[docker.VolumeLabelArgs]:
        labels = {**self._labels(workload), DATA_LABEL: data}
        return [docker.VolumeLabelArgs(label=label, value=value) for label, value in labels.items()]
