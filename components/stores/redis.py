"""Redis: cache and sessions."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pulumi

import contract.outputs as contract
from backends.base import DeployOptions
from components.assets import asset
from components.exporter import SECRETS_DIRECTORY as EXPORTER_SECRETS
from components.exporter import exporter
from components.stores.store import Store, StoreArgs
from settings.monitoring import ExportersSettings
from settings.stores.redis import REDIS, RedisSettings
from settings.tools import DevToolsSettings, RedisCommanderSettings
from workloads import (
    RECOVERY_S,
    Endpoint,
    Exec,
    ExternalEndpoint,
    FileSet,
    HttpGet,
    Liveness,
    Port,
    Probe,
    Scratch,
    Service,
    StatefulService,
    TcpConnect,
    Volume,
    Workload,
)

ENDPOINT = Endpoint("redis", 6379)

CONFIGURATION_DIRECTORY = "/usr/local/etc/redis"
SECRETS_DIRECTORY = "/run/secrets/redis"

DATA_MOUNT, DATA_FOLDER = "/data", "redis"
"""The volume, and the folder below its mount that is `dir` in `assets/redis/redis.conf`."""

FRAGMENTATION_PERCENT = 20
"""Factor for fragmentation beyond the data that Redis counts; measured under random overwrites: 4 to 7 %."""

OVERHEAD_MIB = 96
"""Memory of the program, the readiness check, the scratch space, and the log buffer during a late flush."""


@dataclass(frozen=True, kw_only=True)
class RedisStore(Store[contract.RedisOutput]):
    """Redis, run by the stack or managed elsewhere."""

    @property
    def secret(self) -> pulumi.Output[str] | None:
        """Redis' password; None if it has none."""
        return self.args.credentials.find(REDIS)

    def exporter(self, images: ExportersSettings) -> Workload:
        """Return the exporter of Redis."""
        address = f"{'rediss' if self.internal.tls else 'redis'}://{self.internal.host}:{self.internal.port}"
        password = self.secret
        secrets = {} if password is None else {"passwords.json": password.apply(lambda one: json.dumps({address: one}))}
        return exporter(
            "redis",
            image=images.redis,
            user=59000,
            port=9121,
            environment={
                "REDIS_ADDR": address,
                **({"REDIS_PASSWORD_FILE": f"{EXPORTER_SECRETS}/passwords.json"} if secrets else {}),
            },
            secrets=secrets,
            connects_to=self.connects_to,
            depends_on=self.depends_on,
        )

    def web_tool(self, tools: DevToolsSettings) -> Workload:
        """Return Redis Commander."""
        return _redis_commander(tools.redis_commander, self)


def deploy(args: StoreArgs, options: DeployOptions) -> RedisStore:
    """Deploy the server, unless it is external."""
    settings, external = args.settings.redis, args.settings.redis.external
    endpoint: Endpoint | ExternalEndpoint = ENDPOINT
    if settings.mode == "external":
        endpoint = ExternalEndpoint(external.host or "", external.port, external.cidrs)
    else:
        args.backend.deploy(_server(settings, args.credentials.find(REDIS)), options)
    host, port = args.published(endpoint, settings.port)
    tls = settings.mode == "external" and external.tls
    return RedisStore(
        args=args,
        connects_to=(endpoint,),
        depends_on=() if settings.mode == "external" else (ENDPOINT.workload,),
        internal=contract.RedisOutput(host=endpoint.host, port=endpoint.port, tls=tls),
        published=contract.RedisOutput(host=host, port=port, tls=tls),
    )


def memory_limit_mib(max_memory_mib: int) -> int:
    """Return the memory limit that `redis.maxMemoryMib` needs, in MiB.

    A rewrite of the append-only file forks, and under load every page is eventually copied. So the limit is twice the
    data, including its fragmentation, and twice the clients' buffers.
    """
    data = max_memory_mib * (100 + FRAGMENTATION_PERCENT) // 100 + 1
    return 2 * (data + client_memory_mib(max_memory_mib)) + OVERHEAD_MIB


def client_memory_mib(max_memory_mib: int) -> int:
    """Return the limit for the buffers of all clients together, in MiB; beyond it, Redis disconnects clients."""
    return max(16, max_memory_mib // 8)


def _server(settings: RedisSettings, password: pulumi.Output[str] | None) -> StatefulService:
    """Return the Redis server. Without a password, everyone who can connect may use it."""
    configuration = asset("redis/redis.conf") + (
        f"maxmemory {settings.max_memory_mib}mb\nmaxmemory-clients {client_memory_mib(settings.max_memory_mib)}mb\n"
    )
    ready: tuple[str, ...] = ("sh", f"{CONFIGURATION_DIRECTORY}/ready.sh")
    secrets = []
    if password is not None:
        configuration += f"include {SECRETS_DIRECTORY}/requirepass.conf\n"
        ready = (*ready, f"{SECRETS_DIRECTORY}/password")
        files = {"password": password, "requirepass.conf": password.apply(_requirepass)}
        secrets = [FileSet(name="password", directory=SECRETS_DIRECTORY, files=files, secret=True)]
    scripts = {
        "below.sh": asset("volume/below.sh"),
        "marker.sh": asset("volume/marker.sh"),
        "start.sh": asset("redis/start.sh"),
        "ready.sh": asset("redis/ready.sh"),
    }
    start = (
        "sh",
        f"{CONFIGURATION_DIRECTORY}/start.sh",
        DATA_MOUNT,
        DATA_FOLDER,
        f"{CONFIGURATION_DIRECTORY}/redis.conf",
    )
    return StatefulService(
        name=ENDPOINT.workload,
        image=settings.image,
        user=999,
        command=("sh", f"{CONFIGURATION_DIRECTORY}/below.sh", DATA_MOUNT, DATA_FOLDER, *start),
        ports=(Port(name="redis", number=ENDPOINT.port, publish=settings.port),),
        file_sets=(
            FileSet(
                name="configuration", directory=CONFIGURATION_DIRECTORY, files={"redis.conf": configuration, **scripts}
            ),
            *secrets,
        ),
        volumes=(Volume(name="redis-data", mount=DATA_MOUNT, size_gib=settings.storage_gib),),
        scratch=(Scratch(path="/tmp"),),  # noqa: S108 - a mount of its own
        memory_mib=memory_limit_mib(settings.max_memory_mib),
        cpu_request=settings.cpu_request,
        readiness=Probe(check=Exec(command=ready), startup_s=60, period_s=2),
        # The process is alive while it accepts connections: one that loads a large file answers LOADING and must not be
        # killed.
        liveness=Liveness(check=TcpConnect(port=ENDPOINT.port), startup_s=RECOVERY_S),
    )


def _requirepass(password: str) -> str:
    escaped = password.replace("\\", "\\\\").replace('"', '\\"')
    return f'requirepass "{escaped}"\n'


def _redis_commander(settings: RedisCommanderSettings, redis: RedisStore) -> Service:
    """Return Redis Commander without the image's entry point, which would pass the password as a process argument."""
    local, password = "/etc/redis-commander", redis.secret

    def configuration(secret: str | None) -> str:
        connection = {
            "label": "PTI Calendar",
            "host": redis.internal.host,
            "port": redis.internal.port,
            "dbIndex": 0,
        }
        return json.dumps({"connections": [connection | ({"password": secret} if secret else {})]}, indent=2)

    return Service(
        name="redis-commander",
        image=settings.image,
        user=10000,
        command=("node", "/redis-commander/bin/redis-commander.js"),
        environment={
            # node-config reads several directories; later ones have precedence.
            "NODE_CONFIG_DIR": f"/redis-commander/config:{local}",
            "NOSAVE": "true",
        },
        ports=(Port(name="http", number=8081, publish=settings.port),),
        file_sets=(
            FileSet(
                name="configuration",
                directory=local,
                files={"local.json": configuration(None) if password is None else password.apply(configuration)},
                secret=password is not None,
            ),
        ),
        scratch=(Scratch(path="/tmp"),),  # noqa: S108 - a mount of its own
        memory_mib=160,
        readiness=Probe(check=HttpGet(port=8081, path="/"), startup_s=120),
        connects_to=redis.connects_to,
    )
