"""Redis: cache and sessions."""

from __future__ import annotations

import pulumi

from backends.base import Backend, DeployOptions
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

MOUNT, FOLDER = "/data", "redis"
"""The volume, and the folder below its mount that is `dir` in `assets/redis/redis.conf`."""

FRAGMENTATION_PERCENT = 20
"""What the process holds beyond the data that Redis counts; measured under random overwrites: 4 to 7 %."""

OVERHEAD_MIB = 96
"""The program, the readiness check, the scratch space, and what a late flush leaves in the buffer of the log."""


def deploy(settings: Redis, credentials: Credentials, backend: Backend, *, parent: pulumi.Resource) -> RedisAccess:
    """Deploy the server, unless it is external."""
    if settings.mode == "external":
        external = settings.external
        endpoint = External(external.host or "", external.port, external.cidrs)
        return RedisAccess(endpoint=endpoint, tls=external.tls, server=())
    backend.deploy(_server(settings, credentials.find(REDIS)), DeployOptions(parent=parent))
    return RedisAccess(endpoint=ENDPOINT, tls=False, server=(ENDPOINT.workload,))


def memory_limit_mib(max_memory_mib: int) -> int:
    """Return the memory limit that `redis.maxMemoryMib` needs, in MiB.

    A rewrite of the append-only file forks, and under load the fork ends up with a copy of every page: twice the data
    and the clients' buffers, with what fragmentation adds to the data.
    """
    data = max_memory_mib * (100 + FRAGMENTATION_PERCENT) // 100 + 1
    return 2 * (data + client_memory_mib(max_memory_mib)) + OVERHEAD_MIB


def client_memory_mib(max_memory_mib: int) -> int:
    """Return the memory for the buffers of all clients together, in MiB; whoever exceeds it is disconnected."""
    return max(16, max_memory_mib // 8)


def _server(settings: Redis, password: pulumi.Output[str] | None) -> Workload:
    """Return the Redis server. Without a password, everyone who can connect may use it."""
    configuration = asset("redis/redis.conf") + (
        f"maxmemory {settings.max_memory_mib}mb\nmaxmemory-clients {client_memory_mib(settings.max_memory_mib)}mb\n"
    )
    ready: tuple[str, ...] = ("sh", f"{CONFIGURATION}/ready.sh")
    secrets = []
    if password is not None:
        configuration += f"include {SECRETS}/requirepass.conf\n"
        ready = (*ready, f"{SECRETS}/password")
        files = {"password": password, "requirepass.conf": password.apply(_requirepass)}
        secrets = [FileSet(name="password", directory=SECRETS, files=files, secret=True)]
    scripts = {
        "below.sh": asset("volume/below.sh"),
        "marker.sh": asset("volume/marker.sh"),
        "start.sh": asset("redis/start.sh"),
        "ready.sh": asset("redis/ready.sh"),
    }
    start = ("sh", f"{CONFIGURATION}/start.sh", MOUNT, FOLDER, f"{CONFIGURATION}/redis.conf")
    return Workload(
        name=ENDPOINT.workload,
        kind=Kind.STATEFUL,
        image=settings.image,
        user=999,
        command=("sh", f"{CONFIGURATION}/below.sh", MOUNT, FOLDER, *start),
        ports=(Port(name="redis", number=ENDPOINT.port, publish=settings.port),),
        file_sets=(
            FileSet(name="configuration", directory=CONFIGURATION, files={"redis.conf": configuration, **scripts}),
            *secrets,
        ),
        volumes=(Volume(name="redis-data", mount=MOUNT, size_gib=settings.storage_gib),),
        scratch=(Scratch(path="/tmp"),),  # noqa: S108 - a mount of its own
        memory_mib=memory_limit_mib(settings.max_memory_mib),
        cpu_request=settings.cpu_request,
        readiness=Probe(check=Exec(command=ready), startup_s=60, period_s=2),
        # Alive while it accepts connections: one that loads a large file answers LOADING and must be let go on.
        liveness=Liveness(check=TcpConnect(port=ENDPOINT.port), startup_s=RECOVERY_S),
    )


def _requirepass(password: str) -> str:
    escaped = password.replace("\\", "\\\\").replace('"', '\\"')
    return f'requirepass "{escaped}"\n'
