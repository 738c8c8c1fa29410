"""Microservice: one of the application teams' services, as docs/service-contract.md describes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi

from backends.base import Backend, DeployOptions
from components.scaling import autoscaling
from components.stores import Store
from components.stores.postgres import PostgresStore
from contract.environment import LOG_LEVEL, Environment, Identity, migration_environment, service_environment
from contract.outputs import CredentialsOutput
from settings import catalog
from settings.applications import AppConfig
from settings.credentials import third_party
from workloads import INTERNET, Endpoint, FileSet, HttpGet, Liveness, Metrics, Port, Probe, Scratch, Service, Task

TYPE = "pti-calendar:index:Microservice"

UID = 10001
SECRETS_DIRECTORY = "/run/secrets/service"


@dataclass(frozen=True, kw_only=True)
class MicroserviceArgs:
    """Arguments of a service: its settings, and the stores that it uses."""

    service: catalog.ServiceSpec
    config: AppConfig
    migration_command: tuple[str, ...]
    """Command that runs to completion as the migrator role before the service starts; empty: none."""

    environment: Mapping[str, str]
    """Additional environment variables."""

    backend: Backend
    stores: Mapping[str, Store[Any]]
    postgres: PostgresStore
    """The store that has the service's own database, for its migrations."""

    secrets: CredentialsOutput[pulumi.Output[str]]


class Microservice(pulumi.ComponentResource):
    """A service with its own database and only the secrets that it uses; and the task that migrates its database.

    It starts when its stores are ready, and is ready when its readiness probe succeeds.
    """

    def __init__(self, name: str, args: MicroserviceArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(TYPE, name, None, opts)
        migrations = [_migrations(args)] if args.migration_command else []
        for workload in migrations:
            args.backend.deploy(workload, DeployOptions(parent=self))
        args.backend.deploy(_service(args, after=tuple(one.name for one in migrations)), DeployOptions(parent=self))
        self.register_outputs({"endpoint": str(Endpoint(args.service.name, args.service.port))})


def _service(args: MicroserviceArgs, *, after: tuple[str, ...]) -> Service:
    service, config = args.service, args.config
    stores = {name: store.internal for name, store in args.stores.items()}
    third_parties = [third_party(secret).variable for secret in service.secrets]
    environment = service_environment(_identity(service), stores, args.secrets, third_parties)
    return Service(
        name=service.name,
        image=config.image,
        has_upstream_image=False,
        user=UID,
        environment=_variables(args, environment),
        file_sets=(_files(environment),),
        ports=(Port(name="http", number=service.port),),
        scratch=(Scratch(path="/tmp", size_mib=64),),  # noqa: S108 - a mount of its own
        memory_mib=config.memory_mib,
        cpu_request=config.cpu_request,
        replicas=config.replicas,
        autoscaling=autoscaling(config.scaling),
        readiness=Probe(check=HttpGet(port=service.port, path="/health"), startup_s=120),
        liveness=Liveness(check=HttpGet(port=service.port, path="/health/live")),
        depends_on=(*(needed for store in args.stores.values() for needed in store.depends_on), *after),
        connects_to=(
            *(called for store in args.stores.values() for called in store.connects_to),
            *([INTERNET] if service.secrets else []),
        ),
        metrics=(Metrics(port=service.port, job="service"),),
        stop_grace_s=20,
    )


def _migrations(args: MicroserviceArgs) -> Task:
    environment = migration_environment(_identity(args.service), args.postgres.internal, args.secrets)
    return Task(
        name=f"{args.service.name}-migrations",
        image=args.config.image,
        has_upstream_image=False,
        user=UID,
        command=args.migration_command,
        environment=_variables(args, environment),
        file_sets=(_files(environment),),
        scratch=(Scratch(path="/tmp", size_mib=64),),  # noqa: S108 - a mount of its own
        memory_mib=args.config.memory_mib,
        depends_on=args.postgres.depends_on,
        connects_to=args.postgres.connects_to,
        timeout_s=600,
    )


def _identity(service: catalog.ServiceSpec) -> Identity:
    return Identity(name=service.name, port=service.port)


def _variables(args: MicroserviceArgs, environment: Environment[pulumi.Output[str]]) -> dict[str, str]:
    """Return the variables. Secrets have a variable with the file's path, because environments appear in listings and
    crash reports."""
    files = {f"{name}_FILE": f"{SECRETS_DIRECTORY}/{name}" for name in environment.secrets}
    return {LOG_LEVEL.name: "info", **args.environment, **environment.variables, **files}


def _files(environment: Environment[pulumi.Output[str]]) -> FileSet:
    return FileSet(name="secrets", directory=SECRETS_DIRECTORY, files=environment.secrets, secret=True)
