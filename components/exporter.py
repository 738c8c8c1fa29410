"""The workload of an exporter, for software without Prometheus metrics."""

from __future__ import annotations

from collections.abc import Mapping

import pulumi

from workloads import Endpoint, ExternalEndpoint, FileSet, HttpGet, Liveness, Metrics, Port, Probe, Service, TcpConnect

SECRETS_DIRECTORY = "/run/secrets/exporter"
NOBODY_UID = 65534


def exporter(
    job: str,
    *,
    name: str | None = None,
    image: str,
    user: int,
    port: int,
    command: tuple[str, ...] = (),
    arguments: tuple[str, ...] = (),
    environment: Mapping[str, pulumi.Input[str]] | None = None,
    secrets: Mapping[str, pulumi.Input[str]] | None = None,
    connects_to: tuple[Endpoint | ExternalEndpoint, ...] = (),
    depends_on: tuple[str, ...] = (),
    has_probes: bool = True,
    startup_s: int = Liveness.startup_s,
    memory_mib: int = 64,
    reads_deployed_objects: bool = False,
) -> Service:
    """Return the exporter whose metrics are scraped under the job `job`."""
    return Service(
        name=name or f"{job}-exporter",
        image=image,
        user=user,
        command=command,
        arguments=arguments,
        environment=environment or {},
        file_sets=(FileSet(name="secrets", directory=SECRETS_DIRECTORY, files=secrets, secret=True),)
        if secrets
        else (),
        ports=(Port(name="metrics", number=port),),
        memory_mib=memory_mib,
        # Probe the exporter, not its target, so that a store's outage is reported.
        readiness=Probe(check=HttpGet(port=port, path="/")) if has_probes else None,
        liveness=Liveness(check=TcpConnect(port=port), startup_s=startup_s) if has_probes else None,
        depends_on=depends_on,
        connects_to=connects_to,
        metrics=(Metrics(port=port, job=job, workload=job),),
        reads_deployed_objects=reads_deployed_objects,
    )
