"""The whole platform on the Docker engine, with the reference applications and on free host ports."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from settings.catalog import SERVICES
from settings.credentials import third_party
from settings.edge import NginxSettings
from settings.gateway import KongSettings
from testbed import ext4
from tests.e2e.outages import ASK_SCRIPT, InternalClient
from tests.e2e.platform import Platform, certificate_of
from tests.engine import docker_engine
from tests.engine.docker_engine import docker
from tests.engine.ext4_volumes import Owner, ext4_volumes
from tests.engine.machine import BUILD
from tests.engine.pulumi_stack import PulumiStack
from tests.engine.waiting import until
from tests.ports import free_ports

SERVICE_IMAGE = "pti-calendar/reference-service:1.0.0"
FRONTEND_IMAGE = "pti-calendar/reference-frontend:1.0.0"
MIGRATE = ["python", "-m", "reference_service.migrate"]
PUBLIC_SERVICE = "user"
PUBLIC = {PUBLIC_SERVICE: {"publicPaths": ["/public"]}}
VOLUMES = {
    "pti-postgres-data": Owner("postgres", 999),
    "pti-redis-data": Owner("redis", 999),
    "pti-kafka-zookeeper-data": Owner("kafka", 1000),
    "pti-zookeeper-data": Owner("zookeeper", 1000),
    "pti-zookeeper-log": Owner("zookeeper", 1000),
}
"""Every data volume, by its name without the stack's suffix."""

RATE_LIMIT = 100_000
"""A limit in requests per minute that no test reaches; the rate-limit test lowers it."""


class FullStack(PulumiStack):
    """A stack with a gateway, and access to it."""

    def platform(self) -> Platform:
        """Return the platform in its current state."""
        return Platform.of(
            self.outputs(),
            address="127.0.0.1",
            https_port=self.gateway_port("nginx", 8443),
            http_port=self.gateway_port("nginx", 8080),
            public_service=PUBLIC_SERVICE,
            certificate=certificate_of(self.export()),
        )

    def container(self, workload: str) -> dict[str, Any]:
        """Return the output of `docker inspect` for a workload's container."""
        (found,) = (one for one in docker_engine.containers(self.name) if one["Name"] == f"/pti-{workload}-{self.name}")
        return found

    def gateway_port(self, workload: str, inside: int) -> int:
        """Return the host port that Docker publishes for a container port."""
        (binding,) = self.container(workload)["NetworkSettings"]["Ports"][f"{inside}/tcp"]
        return int(binding["HostPort"])

    def crash(self, workload: str) -> None:
        """Kill the container's processes with SIGKILL; only the engine's restart policy can recover it."""
        before = self.container(workload)
        # Process 1 is the engine's init process, which exits with the status of its child. `docker kill` would count as
        # a manual stop, after which the engine doesn't restart the container.
        docker("exec", before["Id"], "sh", "-c", "kill -9 -1", check=False)
        until(f"{workload} has restarted", lambda: self.restarts(workload) > before["RestartCount"])

    @contextmanager
    def without(self, *workloads: str) -> Iterator[None]:
        """Stop the containers with `docker stop` for the duration of the context."""
        identities = [self.container(workload)["Id"] for workload in workloads]
        docker("stop", *identities)
        try:
            yield
        finally:
            docker("start", *identities)

    def lose_all_but_data(self) -> None:
        """Leave what `destroy` leaves, an empty state and the data volumes, in a fraction of the time."""
        docker("stop", *(one["Id"] for one in docker_engine.containers(self.name)))
        docker_engine.remove_containers_and_networks(self.name)
        kept = docker_engine.persistent_volumes(self.name)
        docker("volume", "rm", *(one["Name"] for one in docker_engine.volumes(self.name) if one["Name"] not in kept))
        self.lose_state()

    def inside(self) -> InternalClient:
        """Return access to the services from within their own containers."""
        ports = {service.name: service.port for service in SERVICES}

        def ask(service: str, path: str) -> str:
            address = f"http://127.0.0.1:{ports[service]}{path}"
            return docker("exec", self.container(service)["Id"], "python", "-c", ASK_SCRIPT, address)

        return InternalClient(self.platform(), ask)

    def restarts(self, workload: str) -> int:
        """Return how often the engine has restarted the container."""
        return int(self.container(workload)["RestartCount"])


def configuration(services: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration with dev's stores, generated credentials, the gateway and these services."""
    postgres, redis, kafka, zookeeper, http, https, proxy, tls, admin = free_ports(9)
    return {
        "postgres": {"port": postgres},
        "redis": {"port": redis},
        "kafka": {"port": kafka, "zookeeper": {"port": zookeeper}},
        "services": {
            "image": SERVICE_IMAGE,
            "migrationCommand": MIGRATE,
            "overrides": PUBLIC,
            **services,
        },
        "gateway": {
            "enabled": True,
            "rateLimit": {"perMinute": RATE_LIMIT},
            "kong": {"proxyPort": proxy, "tlsPort": tls, "adminApi": True, "adminPort": admin},
        },
        "edge": {"nginx": {"httpPort": http, "httpsPort": https}},
    }


def third_party_secrets() -> dict[str, str]:
    """Map the configuration keys of every provider's secret to invalid values."""
    return {third_party(one).key: secrets.token_urlsafe(16) for service in SERVICES for one in service.secrets}


def lacking_images() -> str | None:
    """Return the gateway and application images that the engine lacks, or None if it has all."""
    for image in (SERVICE_IMAGE, FRONTEND_IMAGE, KongSettings().image, NginxSettings().image):
        if not docker("image", "ls", "--quiet", image).strip():
            return f"the image {image} is missing: {BUILD}"
    return None


@contextmanager
def full_stack(home: Path, described: Mapping[str, Any]) -> Iterator[FullStack]:
    """Provide a stack that isn't up yet, and remove it afterwards; skip the test if an image is missing."""
    if reason := lacking_images():
        pytest.skip(reason)
    stack = FullStack(home, configuration=described)
    try:
        yield stack
    finally:
        stack.remove()


@contextmanager
def on_block_volumes(stack: FullStack, folder: Path) -> Iterator[None]:
    """Put each volume on a new ext4 file system, with its image in the folder; use the engine's directories if mounting
    isn't possible.

    Args:
        stack: the stack, not yet up.
        folder: a directory that is kept until the stack is removed.
    """
    if reason := ext4.why_unavailable():
        print(f"volumes are folders of the engine: {reason}")
        yield
        return
    with ext4_volumes(stack.name, VOLUMES, folder):
        yield


@contextmanager
def timed(what: str) -> Iterator[None]:
    """Print the duration of a block."""
    began = time.monotonic()
    yield
    print(f"{what}: {time.monotonic() - began:.1f} s")
