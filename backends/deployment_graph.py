"""Records deployed workloads, and refuses a workload whose dependencies aren't deployed. Every backend uses it."""

from __future__ import annotations

from collections.abc import Iterable

from workloads import Endpoint, LongRunning, ScheduledTask, SharedVolume, Workload, WorkloadError


class DeploymentGraph:
    """The names of the deployed workloads, with their ports."""

    def __init__(self) -> None:
        self._ports: dict[str, frozenset[int]] = {}
        self.workloads: list[Workload] = []

    def add(self, workload: Workload) -> None:
        """Record a workload that is about to be deployed.

        Raises:
            WorkloadError: its name is taken, a dependency isn't deployed before it, or it can't share a volume.
        """
        subject = f"workload {workload.name!r}"
        self._refuse_duplicate(subject, workload.name)
        callees = [call for call in workload.connects_to if isinstance(call, Endpoint)]
        for other in (*workload.depends_on, *(callee.workload for callee in callees)):
            if other not in self._ports:
                raise WorkloadError(f"{subject} depends on {other!r}, which is not deployed before it; {self._names()}")
        scheduled = {one.name for one in self.workloads if isinstance(one, ScheduledTask)}
        for other in scheduled.intersection(workload.depends_on):
            raise WorkloadError(f"{subject} depends on {other!r}, a scheduled task, which no update waits for")
        for callee in callees:
            self._refuse_unknown_port(subject, callee)
        for shared in workload.shared_volumes:
            self._refuse_unshareable(workload, shared)
        self._ports[workload.name] = frozenset(port.number for port in workload.ports)
        self.workloads.append(workload)

    def add_store(self, name: str, ports: Iterable[int]) -> None:
        """Record a store that isn't a workload, but is connected to like one.

        Raises:
            WorkloadError: its name is taken.
        """
        self._refuse_duplicate(f"store {name!r}", name)
        self._ports[name] = frozenset(ports)

    def require(self, subject: str, endpoint: Endpoint) -> None:
        """Make sure that an endpoint exists.

        Raises:
            WorkloadError: it doesn't.
        """
        if endpoint.workload not in self._ports:
            raise WorkloadError(
                f"{subject} routes to {endpoint.workload!r}, which is not deployed before it; {self._names()}"
            )
        self._refuse_unknown_port(subject, endpoint)

    def _refuse_duplicate(self, subject: str, name: str) -> None:
        if name in self._ports:
            raise WorkloadError(f"{subject} is deployed twice")

    def _refuse_unknown_port(self, subject: str, endpoint: Endpoint) -> None:
        ports = self._ports[endpoint.workload]
        if endpoint.port not in ports:
            listens = ", ".join(map(str, sorted(ports))) or "no port"
            raise WorkloadError(
                f"{subject} connects to port {endpoint.port} of {endpoint.workload!r}, which listens on {listens}"
            )

    def owner(self, shared: SharedVolume) -> Workload:
        """Return the deployed workload that has a shared volume."""
        return next(one for one in self.workloads if one.name == shared.owner)

    def _refuse_unshareable(self, workload: Workload, shared: SharedVolume) -> None:
        subject = f"workload {workload.name!r} mounts the volume {shared.name!r} of {shared.owner!r}"
        if shared.owner not in [one.name for one in self.workloads]:
            raise WorkloadError(f"{subject}, which is not deployed before it; {self._names()}")
        owner = self.owner(shared)
        if shared.name not in (names := [volume.name for volume in owner.volumes]):
            raise WorkloadError(f"{subject}, which has {', '.join(names) or 'no volume'}")
        if isinstance(owner, LongRunning) and owner.max_replicas > 1:
            raise WorkloadError(f"{subject}, which has {owner.max_replicas} replicas with a volume each")
        # A cluster gives the files of a volume to the group of the pod that mounts it.
        if owner.user != workload.user:
            raise WorkloadError(f"{subject} as the user {workload.user}, but the files belong to {owner.user}")

    def _names(self) -> str:
        return f"deployed are {', '.join(self._ports) or 'none'}"
