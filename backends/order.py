"""What is deployed already: the check that every backend makes before it deploys one more."""

from __future__ import annotations

from collections.abc import Iterable

from workloads import Endpoint, Workload, WorkloadError


class Deployed:
    """The names that callers can reach by now, with their ports."""

    def __init__(self) -> None:
        self._ports: dict[str, frozenset[int]] = {}
        self.workloads: list[Workload] = []

    def admit(self, workload: Workload) -> None:
        """Notes a workload that is about to be deployed.

        Raises:
            WorkloadError: where its name is taken, or where it needs or calls what isn't deployed before it.
        """
        who = f"workload {workload.name!r}"
        self._refuse_taken(who, workload.name)
        callees = [call for call in workload.calls if isinstance(call, Endpoint)]
        for other in (*workload.needs, *(callee.workload for callee in callees)):
            if other not in self._ports:
                raise WorkloadError(f"{who} needs or calls {other!r}, which is not deployed before it; {self._names()}")
        for callee in callees:
            self._refuse_closed(who, callee)
        self._ports[workload.name] = frozenset(port.number for port in workload.ports)
        self.workloads.append(workload)

    def admit_store(self, name: str, ports: Iterable[int]) -> None:
        """Notes something that isn't a workload and is called like one.

        Raises:
            WorkloadError: where its name is taken.
        """
        self._refuse_taken(f"store {name!r}", name)
        self._ports[name] = frozenset(ports)

    def require(self, who: str, endpoint: Endpoint) -> None:
        """Makes sure that an endpoint exists.

        Raises:
            WorkloadError: where it doesn't.
        """
        if endpoint.workload not in self._ports:
            raise WorkloadError(
                f"{who} leads to {endpoint.workload!r}, which is not deployed before it; {self._names()}"
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
                f"{who} calls port {endpoint.port} of {endpoint.workload!r}, which listens on {listens}"
            )

    def _names(self) -> str:
        return f"deployed are {', '.join(self._ports) or 'none'}"
