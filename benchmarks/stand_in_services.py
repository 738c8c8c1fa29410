"""A Docker backend on which the first service runs, and one container responds in place of all others.

Seventy services would need more memory than a laptop has.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pulumi_docker as docker

from backends.base import DeployOptions
from backends.docker.backend import DockerBackend
from settings.catalog import SERVICES
from workloads import Endpoint, ExternalEndpoint, Port, Service, Workload

REAL, *SIMULATED = SERVICES
"""The running service, and the others."""

PAGES = Service(
    name="pages",
    image="pti-calendar/reference-service:1.0.0",
    user=10001,
    memory_mib=256,
    ports=tuple(Port(name=f"http-{service.port}", number=service.port) for service in SIMULATED),
)
PROGRAM = Path(__file__).with_name("pages.py")


class StandInServices(DockerBackend):
    """Routes calls to services that don't run to the container with the pages; everything else is unchanged."""

    def deploy(self, workload: Workload, options: DeployOptions) -> None:
        """Deploy like `DockerBackend`, but without the migrations of services that don't run."""
        if any(workload.name in (service.name, f"{service.name}-migrations") for service in SIMULATED):
            if PAGES.name not in self._containers:
                self._deploy_pages(options)
            self._graph.add(dataclasses.replace(workload, connects_to=()))
            return
        super().deploy(dataclasses.replace(workload, connects_to=tuple(map(answering, workload.connects_to))), options)

    def _deploy_pages(self, options: DeployOptions) -> None:
        self._graph.add(PAGES)
        own = self._networks[PAGES.name] = self._network(PAGES, options)
        names = [service.name for service in SIMULATED]
        self._containers[PAGES.name] = docker.Container(
            PAGES.name,
            name=self._name(PAGES.name),
            image=self._image(PAGES).image_id,
            entrypoints=["python", "/pages.py", f"http://{REAL.name}:{REAL.port}/metrics"],
            command=[str(service.port) for service in SIMULATED],
            user=f"{PAGES.user}",
            uploads=[docker.ContainerUploadArgs(file="/pages.py", content=PROGRAM.read_text(), permissions="0444")],
            networks_advanced=[
                docker.ContainerNetworksAdvancedArgs(name=own.id, aliases=names),
                docker.ContainerNetworksAdvancedArgs(name=self._networks[REAL.name].id),
            ],
            memory=PAGES.memory_mib,
            memory_swap=PAGES.memory_mib,
            labels=[
                docker.ContainerLabelArgs(label=label, value=value) for label, value in self._labels(PAGES).items()
            ],
            opts=options.resource_options(provider=self._provider, depends_on=[self._containers[REAL.name]]),
        )


def answering(call: Endpoint | ExternalEndpoint) -> Endpoint | ExternalEndpoint:
    """Return the container that responds to such a call, on the same port."""
    is_simulated = isinstance(call, Endpoint) and any(call.workload == service.name for service in SIMULATED)
    return Endpoint(PAGES.name, call.port) if is_simulated else call
