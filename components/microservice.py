"""Microservice: one of the application teams' services, as docs/service-contract.md describes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import pulumi

from backends.base import Backend, DeployOptions
from components.credentials import Credentials
from components.scaling import autoscaling
from components.stores.kafka import KafkaStore
from components.stores.postgres import PostgresStore
from components.stores.redis import RedisStore
from settings.applications import Sized
from settings.catalog import Service
from settings.credentials import JWT, KAFKA, REDIS, app_role, migrator_role, third_party
from workloads import INTERNET, Endpoint, FileSet, HttpGet, Kind, Liveness, Metrics, Port, Probe, Scratch, Workload

TYPE = "pti-calendar:index:Microservice"

USER = 10001
SECRETS = "/run/secrets/service"
JWT_ISSUER = "pti-calendar"
JWT_ALGORITHM = "HS256"


@dataclass(frozen=True, kw_only=True)
class MicroserviceArgs:
    """Arguments of a service: its settings, and the stores that it uses."""

    service: Service
    sized: Sized
    database_pool_max: int
    """Database connections that each replica may open."""

    migration_command: tuple[str, ...]
    """Command that runs to completion as the migrator role before the service starts; empty: none."""

    environment: Mapping[str, str]
    """Additional environment variables."""

    backend: Backend
    credentials: Credentials
    postgres: PostgresStore
    redis: RedisStore
    kafka: KafkaStore


class Microservice(pulumi.ComponentResource):
    """A service with its own database and the secrets that it uses, no more; and the task that migrates its database.

    It starts when its stores are ready, and is ready itself when it says so.
    """

    def __init__(self, name: str, args: MicroserviceArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(TYPE, name, None, opts)
        migrations = [_migrations(args)] if args.migration_command else []
        for workload in migrations:
            args.backend.deploy(workload, DeployOptions(parent=self))
        args.backend.deploy(_service(args, after=tuple(one.name for one in migrations)), DeployOptions(parent=self))
        self.register_outputs({"endpoint": str(Endpoint(args.service.name, args.service.port))})


def _service(args: MicroserviceArgs, *, after: tuple[str, ...]) -> Workload:
    service, sized = args.service, args.sized
    secrets = {"DATABASE_PASSWORD": args.credentials[app_role(service)], "JWT_SECRET": args.credentials[JWT]}
    if (redis := args.credentials.find(REDIS)) is not None:
        secrets["REDIS_PASSWORD"] = redis
    if args.kafka.inside.username is not None:
        secrets["KAFKA_PASSWORD"] = args.credentials[KAFKA]
    secrets |= {third_party(one).variable: args.credentials[third_party(one)] for one in service.secrets}
    return Workload(
        name=service.name,
        image=sized.image,
        user=USER,
        environment={
            "LOG_LEVEL": "info",
            **args.environment,
            **_common(service),
            **_database(service, args.postgres, role="app"),
            "DATABASE_POOL_MAX": str(args.database_pool_max),
            "REDIS_HOST": args.redis.inside.host,
            "REDIS_PORT": str(args.redis.inside.port),
            "REDIS_TLS": str(args.redis.inside.tls).lower(),
            "KAFKA_BROKERS": args.kafka.inside.bootstrap_servers,
            "KAFKA_SECURITY_PROTOCOL": args.kafka.inside.security_protocol,
            **({"KAFKA_USERNAME": args.kafka.inside.username} if args.kafka.inside.username else {}),
            "JWT_ISSUER": JWT_ISSUER,
            "JWT_ALGORITHM": JWT_ALGORITHM,
            **_files(secrets),
        },
        file_sets=(FileSet(name="secrets", directory=SECRETS, files=secrets, secret=True),),
        ports=(Port(name="http", number=service.port),),
        scratch=(Scratch(path="/tmp", size_mib=64),),  # noqa: S108 - a mount of its own
        memory_mib=sized.memory_mib,
        cpu_request=sized.cpu_request,
        replicas=sized.replicas,
        autoscaling=autoscaling(sized.scaling),
        readiness=Probe(check=HttpGet(port=service.port, path="/health"), startup_s=120),
        liveness=Liveness(check=HttpGet(port=service.port, path="/health/live")),
        needs=(*args.postgres.needs, *args.redis.needs, *args.kafka.needs, *after),
        calls=(
            *args.postgres.calls,
            *args.redis.calls,
            *args.kafka.calls,
            *([INTERNET] if service.secrets else []),
        ),
        metrics=(Metrics(port=service.port, job="service"),),
        stop_grace_s=20,
    )


def _migrations(args: MicroserviceArgs) -> Workload:
    secrets = {"DATABASE_PASSWORD": args.credentials[migrator_role(args.service)]}
    return Workload(
        name=f"{args.service.name}-migrations",
        kind=Kind.TASK,
        image=args.sized.image,
        user=USER,
        command=args.migration_command,
        environment={
            "LOG_LEVEL": "info",
            **args.environment,
            **_common(args.service),
            **_database(args.service, args.postgres, role="migrator"),
            **_files(secrets),
        },
        file_sets=(FileSet(name="secrets", directory=SECRETS, files=secrets, secret=True),),
        scratch=(Scratch(path="/tmp", size_mib=64),),  # noqa: S108 - a mount of its own
        memory_mib=args.sized.memory_mib,
        needs=args.postgres.needs,
        calls=args.postgres.calls,
        timeout_s=600,
    )


def _common(service: Service) -> dict[str, str]:
    return {"SERVICE_NAME": service.name, "PORT": str(service.port)}


def _database(service: Service, postgres: PostgresStore, *, role: Literal["app", "migrator"]) -> dict[str, str]:
    return {
        "DATABASE_HOST": postgres.inside.host,
        "DATABASE_PORT": str(postgres.inside.port),
        "DATABASE_NAME": service.database,
        "DATABASE_USER": service.role(role),
        "DATABASE_SSLMODE": postgres.inside.ssl_mode,
    }


def _files(secrets: Mapping[str, pulumi.Input[str]]) -> dict[str, str]:
    """The variables that name the files of the secrets: an environment shows in listings and crash reports."""
    return {f"{name}_FILE": f"{SECRETS}/{name}" for name in secrets}
