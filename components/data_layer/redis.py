"""Redis: cache and sessions."""

from __future__ import annotations

import pulumi

from backends.base import Backend
from components.assets import asset
from components.credentials import Credentials
from components.data_layer.access import RedisAccess
from settings.credentials import REDIS
from settings.stores import Redis
from workloads import (
    RECOVERY_S,
    Endpoint,
    Exec,
    External,
    FileSet,
    Kind,
    Liveness,
    Port,
    Probe,
    Scratch,
    TcpConnect,
    Volume,
    Workload,
)

ENDPOINT = Endpoint("redis", 6379)

CONFIGURATION = "/usr/local/etc/redis"
SECRETS = "/run/secrets/redis"


def deploy(settings: Redis, credentials: Credentials, backend: Backend, *, parent: pulumi.Resource) -> RedisAccess:
    """Brings up the server, if it is the stack's."""
    if settings.mode == "external":
        external = settings.external
        endpoint = External(external.host or "", external.port, external.cidrs)
        return RedisAccess(endpoint=endpoint, tls=external.tls, server=())
    backend.deploy(_server(settings, credentials.find(REDIS)), parent=parent)
    return RedisAccess(endpoint=ENDPOINT, tls=False, server=(ENDPOINT.workload,))


def _server(settings: Redis, password: pulumi.Output[str] | None) -> Workload:
    """The one Redis server; without a password, whoever reaches the port may use it."""
    configuration = asset("redis/redis.conf") + f"maxmemory {settings.max_memory_mib}mb\n"
    files = [FileSet(name="configuration", directory=CONFIGURATION, files={"redis.conf": configuration})]
    ping = "redis-cli ping | grep -qx PONG"
    if password is not None:
        files = [
            FileSet(
                name="configuration",
                directory=CONFIGURATION,
                files={"redis.conf": f"{configuration}include {SECRETS}/requirepass.conf\n"},
            ),
            FileSet(
                name="password",
                directory=SECRETS,
                files={"password": password, "requirepass.conf": password.apply(_requirepass)},
                secret=True,
            ),
        ]
        # The variable keeps the password out of the process arguments.
        ping = f'REDISCLI_AUTH="$(cat {SECRETS}/password)" {ping}'
    return Workload(
        name=ENDPOINT.workload,
        kind=Kind.STATEFUL,
        image=settings.image,
        user=999,
        command=("redis-server", f"{CONFIGURATION}/redis.conf"),
        ports=(Port(name="redis", number=ENDPOINT.port, publish=settings.port),),
        file_sets=tuple(files),
        volumes=(Volume(name="redis-data", mount="/data", size_gib=settings.storage_gib),),
        scratch=(Scratch(path="/tmp"),),  # noqa: S108 - a mount of its own
        # Rewriting the log forks: pages that change meanwhile exist twice.
        memory_mib=settings.max_memory_mib * 3 // 2 + 64,
        cpu_request=settings.cpu_request,
        readiness=Probe(check=Exec(command=("sh", "-c", ping)), startup_s=60, period_s=2),
        # Alive while it accepts connections: one that loads a large file answers LOADING and must be let go on.
        liveness=Liveness(check=TcpConnect(port=ENDPOINT.port), startup_s=RECOVERY_S),
    )


def _requirepass(password: str) -> str:
    escaped = password.replace("\\", "\\\\").replace('"', '\\"')
    return f'requirepass "{escaped}"\n'
