"""Records what is deployed, and refuses a workload that depends on something that isn't. Every backend uses it."""

from __future__ import annotations

from collections.abc import Iterable

from workloads import Endpoint, Workload, WorkloadError


class Deployed:
    """The names that are deployed so far, with their ports."""

    def __init__(self) -> None:
        self._ports: dict[str, frozenset[int]] = {}
        self.workloads: list[Workload] = []

    def admit(self, workload: Workload) -> None:
        """Record a workload that is about to be deployed.

        Raises:
            WorkloadError: its name is taken, or it depends on something that isn't deployed before it.
        """
        who = f"workload {workload.name!r}"
        self._refuse_taken(who, workload.name)
        callees = [call for call in workload.connects_to if isinstance(call, Endpoint)]
        for other in (*workload.depends_on, *(callee.workload for callee in callees)):
            if other not in self._ports:
                raise WorkloadError(f"{who} depends on {other!r}, which is not deployed before it; {self._names()}")
        for callee in callees:
            self._refuse_closed(who, callee)
        self._ports[workload.name] = frozenset(port.number for port in workload.ports)
        self.workloads.append(workload)

    def admit_store(self, name: str, ports: Iterable[int]) -> None:
        """Record a store that isn't a workload, but is connected to like one.

        Raises:
            WorkloadError: its name is taken.
        """
        self._refuse_taken(f"store {name!r}", name)
        self._ports[name] = frozenset(ports)

    def require(self, who: str, endpoint: Endpoint) -> None:
        """Make sure that an endpoint exists.

        Raises:
            WorkloadError: it doesn't.
        """
        if endpoint.workload not in self._ports:
            raise WorkloadError(
                f"{who} routes to {endpoint.workload!r}, which is not deployed before it; {self._names()}"
            )
        self._refuse_closed(who, endpoint)

    def _refuse_taken(self, who: str, name: str) -> None:
        if name in self._ports:
            raise WorkloadError(f"{who} is deployed twice")

    def _refuse_closed(self, who: str, endpoint: Endpoint) -> None:
        ports = self._ports[endpoint.workload]
        if endpoint.port not in ports:
            listens = ", ".join(map(str, sorted(ports))) or "no port"
            raise WorkloadError(
                f"{who} connects to port {endpoint.port} of {endpoint.workload!r}, which listens on {listens}"
            )

    def _names(self) -> str:
        return f"deployed are {', '.join(self._ports) or 'none'}"
