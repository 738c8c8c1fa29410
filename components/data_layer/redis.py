"""Redis: cache and sessions."""

from __future__ import annotations

import pulumi

from components.assets import asset
from components.endpoint import Endpoint
from settings.models import Redis
from workloads import Exec, FileSet, Kind, Port, Probe, Scratch, Volume, Workload

ENDPOINT = Endpoint("redis", 6379)

CONFIGURATION = "/usr/local/etc/redis"
SECRETS = "/run/secrets/redis"


def server(settings: Redis, password: pulumi.Output[str] | None) -> Workload:
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
        volumes=(Volume(name="redis-data", mount="/data"),),
        scratch=(Scratch(path="/tmp"),),  # noqa: S108 - a mount of its own
        # Rewriting the log forks: pages that change meanwhile exist twice.
        memory_mib=settings.max_memory_mib * 3 // 2 + 64,
        readiness=Probe(check=Exec(command=("sh", "-c", ping)), startup_s=60, period_s=2),
    )


def _requirepass(password: str) -> str:
    escaped = password.replace("\\", "\\\\").replace('"', '\\"')
    return f'requirepass "{escaped}"\n'
