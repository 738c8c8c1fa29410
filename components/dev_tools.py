"""DevTools: pgAdmin, Kafka UI and Redis Commander, connected to the stack's stores."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pulumi

from backends.base import Backend, DeployOptions
from components.credentials import Credentials
from components.data_layer.access import KafkaAccess, PostgresAccess, RedisAccess
from settings.credentials import PGADMIN, POSTGRES_ADMIN, REDIS
from settings.tools import DevTools as DevToolsSettings
from settings.tools import KafkaUi, PgAdmin, RedisCommander
from workloads import FileSet, HttpGet, Port, Probe, Scratch, Workload

TYPE = "pti-calendar:index:DevTools"

PGADMIN_SECRETS = "/run/secrets/pgadmin"


@dataclass(frozen=True, kw_only=True)
class DevToolsArgs:
    """Arguments of the tools: their settings, and the stores that they show."""

    backend: Backend
    credentials: Credentials
    tools: DevToolsSettings
    postgres: PostgresAccess
    redis: RedisAccess
    kafka: KafkaAccess


class DevTools(pulumi.ComponentResource):
    """The three web tools of a developer.

    They keep nothing: logins, server list and passwords are put there anew at every start. They don't wait for the
    stores, and show a store as soon as it answers.
    """

    def __init__(self, name: str, args: DevToolsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(TYPE, name, None, opts)
        for workload in (
            _pg_admin(args.tools.pg_admin, args.postgres, args.credentials),
            _kafka_ui(args.tools.kafka_ui, args.kafka),
            _redis_commander(args.tools.redis_commander, args.redis, args.credentials.find(REDIS)),
        ):
            args.backend.deploy(workload, DeployOptions(parent=self))
        self.register_outputs({})


def _pg_admin(settings: PgAdmin, postgres: PostgresAccess, credentials: Credentials) -> Workload:
    servers = {
        "Servers": {
            "1": {
                "Name": "PTI Calendar",
                "Group": "Servers",
                "Host": postgres.endpoint.host,
                "Port": postgres.endpoint.port,
                "MaintenanceDB": "postgres",
                "Username": postgres.admin,
                # In the user's storage, where the image's entry point copies PGPASS_FILE.
                "ConnectionParameters": {"sslmode": "prefer", "passfile": "/.pgpass"},
            }
        }
    }
    return Workload(
        name="pgadmin",
        image=settings.image,
        user=5050,
        environment={
            "PGADMIN_DEFAULT_EMAIL": settings.email,
            "PGADMIN_DEFAULT_PASSWORD_FILE": f"{PGADMIN_SECRETS}/password",
            "PGADMIN_LISTEN_PORT": "5050",
            "PGADMIN_SERVER_JSON_FILE": "/etc/pgadmin/servers.json",
            "PGPASS_FILE": f"{PGADMIN_SECRETS}/pgpass",
            # The image's own place for this file lies in its read-only root.
            "PGADMIN_CUSTOM_CONFIG_DISTRO_FILE": "/run/pgadmin/config_distro.py",
            "PGADMIN_CONFIG_MASTER_PASSWORD_REQUIRED": "False",
            # Nothing of a developer's session leaves the machine: no version check, no picture by e-mail address.
            "PGADMIN_CONFIG_UPGRADE_CHECK_ENABLED": "False",
            "PGADMIN_CONFIG_SHOW_GRAVATAR_IMAGE": "False",
            # The mail server of the image needs root; a forgotten password is in the configuration.
            "PGADMIN_DISABLE_POSTFIX": "1",
        },
        ports=(Port(name="http", number=5050, publish=settings.port),),
        file_sets=(
            FileSet(name="servers", directory="/etc/pgadmin", files={"servers.json": json.dumps(servers, indent=2)}),
            FileSet(
                name="passwords",
                directory=PGADMIN_SECRETS,
                files={
                    "password": credentials[PGADMIN],
                    "pgpass": credentials[POSTGRES_ADMIN].apply(lambda password: _pgpass(postgres, password)),
                },
                secret=True,
            ),
        ),
        scratch=(
            Scratch(path="/var/lib/pgadmin", size_mib=64),
            Scratch(path="/run/pgadmin"),
            Scratch(path="/tmp", size_mib=64),  # noqa: S108 - a mount of its own
        ),
        memory_mib=448,
        readiness=Probe(check=HttpGet(port=5050, path="/misc/ping"), startup_s=180),
        calls=(postgres.endpoint,),
    )


def _kafka_ui(settings: KafkaUi, kafka: KafkaAccess) -> Workload:
    return Workload(
        name="kafka-ui",
        image=settings.image,
        user=100,
        environment={
            "KAFKA_CLUSTERS_0_NAME": "pti-calendar",
            "KAFKA_CLUSTERS_0_BOOTSTRAPSERVERS": kafka.bootstrap_servers,
            "JAVA_OPTS": f"-Xmx{settings.heap_mib}m -XX:+UseSerialGC -XX:TieredStopAtLevel=1",
        },
        ports=(Port(name="http", number=8080, publish=settings.port),),
        scratch=(Scratch(path="/tmp", size_mib=64), Scratch(path="/etc/kafkaui")),  # noqa: S108 - a mount of its own
        memory_mib=settings.heap_mib + 288,
        readiness=Probe(check=HttpGet(port=8080, path="/actuator/health"), startup_s=180),
        calls=kafka.calls,
    )


def _redis_commander(settings: RedisCommander, redis: RedisAccess, password: pulumi.Output[str] | None) -> Workload:
    """Redis Commander without the image's entry point, which would pass the password as a process argument."""
    local = "/etc/redis-commander"

    def configuration(secret: str | None) -> str:
        connection = {"label": "PTI Calendar", "host": redis.endpoint.host, "port": redis.endpoint.port, "dbIndex": 0}
        return json.dumps({"connections": [connection | ({"password": secret} if secret else {})]}, indent=2)

    return Workload(
        name="redis-commander",
        image=settings.image,
        user=10000,
        command=("node", "/redis-commander/bin/redis-commander.js"),
        environment={
            # node-config reads several directories; a later one wins.
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
        calls=(redis.endpoint,),
    )


def _pgpass(postgres: PostgresAccess, password: str) -> str:
    """A line of a libpq password file (https://www.postgresql.org/docs/current/libpq-pgpass.html)."""
    escaped = password.replace("\\", "\\\\").replace(":", "\\:")
    return f"{postgres.endpoint.host}:{postgres.endpoint.port}:*:{postgres.admin}:{escaped}\n"
