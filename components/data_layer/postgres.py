"""PostgreSQL: the server, and the task that provisions the services' databases, roles and grants."""

from __future__ import annotations

import pulumi

from backends.base import Backend, DeployOptions
from components.assets import asset, assets
from components.credentials import Credentials
from components.data_layer.access import PostgresAccess, PostgresServers
from components.data_layer.postgres_parameters import parameters
from settings import postgres_connections
from settings.applications import Services
from settings.catalog import SERVICES
from settings.credentials import POSTGRES_ADMIN, POSTGRES_BACKUP, POSTGRES_MONITOR, app_role, migrator_role
from settings.stores import Postgres
from workloads import (
    METRICS_PORT,
    RECOVERY_S,
    Endpoint,
    Exec,
    External,
    FileSet,
    Fixed,
    Kind,
    Liveness,
    Port,
    PostgresCluster,
    Probe,
    Scratch,
    Volume,
    Workload,
)

ENDPOINT = Endpoint("postgres", 5432)
DATABASES = "databases"
ADMIN = "postgres"
BACKUP_ROLE = "pti_backup"
MONITOR_ROLE = "pti_monitor"

USER = 999
SECRETS = "/run/secrets/postgres"
SOCKETS = "/var/run/postgresql"
SCRIPTS = ("start.sh", "ready.sh", "alive.sh")

ANOTHER_MAJOR = (
    "A server of another major version can't read the data. Dump the databases with the old image, set the new one "
    "together with an empty volume, and restore the dump."
)

ANOTHER_MODE = (
    "The server of the other mode begins empty, on volumes of its own. Bring up a second stack in that mode, and move "
    "the data with pg_dump and pg_restore."
)


def deploy(
    settings: Postgres, services: Services, credentials: Credentials, backend: Backend, *, parent: pulumi.Resource
) -> PostgresAccess:
    """Deploy the server of the chosen mode, unless it is external, and provision the databases."""
    endpoint: Endpoint | External = ENDPOINT
    admin, ssl_mode, own = ADMIN, "disable", True
    servers: PostgresServers | None = None
    if settings.mode == "statefulset":
        backend.deploy(_server(settings, credentials), DeployOptions(parent=parent))
    elif settings.mode == "cloudnativepg":
        endpoint = backend.deploy_postgres_cluster(_cluster(settings, credentials), DeployOptions(parent=parent))
        ssl_mode = "require"
        servers = PostgresServers(
            metrics=Endpoint(ENDPOINT.workload, METRICS_PORT), number=settings.cloudnativepg.instances
        )
    else:
        external = settings.external
        endpoint = External(external.host or "", external.port, external.cidrs)
        admin, ssl_mode, own = external.admin, external.ssl_mode, False
    server = (ENDPOINT.workload,) if own else ()
    access = PostgresAccess(
        endpoint=endpoint, admin=admin, ssl_mode=ssl_mode, server=server, databases=(DATABASES,), servers=servers
    )
    backend.deploy(_databases(settings, services, access, credentials), DeployOptions(parent=parent))
    return access


def _server(settings: Postgres, credentials: Credentials) -> Workload:
    """The one PostgreSQL server.

    The data directory is named after the major version, so that an image of another one never opens it; the volume
    is mounted above it, where PostgreSQL 18's image expects it (docker-library/postgres#1259).
    """
    return Workload(
        name=ENDPOINT.workload,
        kind=Kind.STATEFUL,
        image=settings.image,
        user=USER,
        command=("sh", "/assets/start.sh"),
        arguments=(
            "postgres",
            *("-c", "listen_addresses=*", "-c", f"unix_socket_directories={SOCKETS}"),
            *(word for name, value in parameters(settings).items() for word in ("-c", f"{name}={value}")),
        ),
        environment={
            "PGDATA": f"/var/lib/postgresql/{settings.major}/docker",
            "PGHOST": SOCKETS,
            "POSTGRES_PASSWORD_FILE": f"{SECRETS}/password",
            # Sorting that no operating system upgrade changes under an index.
            "POSTGRES_INITDB_ARGS": "--auth-host=scram-sha-256 --data-checksums --encoding=UTF8 "
            "--locale=C.UTF-8 --locale-provider=builtin --builtin-locale=C.UTF-8",
        },
        ports=(Port(name="postgres", number=ENDPOINT.port, publish=settings.port),),
        file_sets=(
            FileSet(name="scripts", directory="/assets", files={name: asset(f"postgres/{name}") for name in SCRIPTS}),
            FileSet(name="admin", directory=SECRETS, files={"password": credentials[POSTGRES_ADMIN]}, secret=True),
        ),
        volumes=(
            Volume(
                name="postgres-data",
                mount="/var/lib/postgresql",
                size_gib=settings.storage_gib,
                fixed=(
                    _fixed_mode(settings),
                    Fixed("postgres.image", f"PostgreSQL {settings.major}", ANOTHER_MAJOR),
                ),
            ),
        ),
        scratch=(
            Scratch(path=SOCKETS, size_mib=4),
            Scratch(path="/tmp", size_mib=4),  # noqa: S108 - a mount of its own
            # Parallel queries share memory here; the 64 MiB containers get by default are soon too few.
            Scratch(path="/dev/shm", size_mib=settings.memory.shm_mib),  # noqa: S108 - a mount of its own
        ),
        memory_mib=settings.memory_mib,
        cpu_request=settings.cpu_request,
        # Over TCP, which is closed until the data has been recovered and the password set.
        readiness=Probe(check=Exec(command=("sh", "/assets/ready.sh")), startup_s=120, period_s=2),
        liveness=Liveness(check=Exec(command=("sh", "/assets/alive.sh")), failures=12, startup_s=RECOVERY_S),
        # A fast shutdown writes a checkpoint; killed earlier, the next start replays the log instead.
        stop_grace_s=60,
    )


def _cluster(settings: Postgres, credentials: Credentials) -> PostgresCluster:
    return PostgresCluster(
        name=ENDPOINT.workload,
        image=settings.cloudnativepg.image,
        instances=settings.cloudnativepg.instances,
        size_gib=settings.storage_gib,
        memory_mib=settings.memory_mib,
        shm_mib=settings.memory.shm_mib,
        cpu_request=settings.cpu_request,
        admin_password=credentials[POSTGRES_ADMIN],
        parameters=parameters(settings),
        operator_namespace=settings.cloudnativepg.operator_namespace,
        fixed=(_fixed_mode(settings),),
    )


def _fixed_mode(settings: Postgres) -> Fixed:
    return Fixed("postgres.mode", settings.mode, ANOTHER_MODE)


def _databases(settings: Postgres, services: Services, access: PostgresAccess, credentials: Credentials) -> Workload:
    """The task that creates what is missing, corrects what differs, and drops nothing."""
    roles = {service.role("app"): app_role(service) for service in SERVICES}
    roles |= {service.role("migrator"): migrator_role(service) for service in SERVICES}
    passwords = {role: credentials[credential] for role, credential in roles.items()}
    if credentials.has(POSTGRES_MONITOR):
        passwords[MONITOR_ROLE] = credentials[POSTGRES_MONITOR]
    table = "".join(
        f"{service.name} {service.database} {postgres_connections.application(services, service)}\n"
        for service in SERVICES
    )
    return Workload(
        name=DATABASES,
        kind=Kind.TASK,
        image=settings.image,
        user=USER,
        command=("sh", "/assets/provision.sh"),
        environment={
            "PGHOST": access.endpoint.host,
            "PGPORT": str(access.endpoint.port),
            "PGUSER": access.admin,
            "PGSSLMODE": access.ssl_mode,
            # A managed server's certificate is signed by one of the authorities that the system trusts.
            **({"PGSSLROOTCERT": "system"} if access.ssl_mode == "verify-full" else {}),
            # Servers that are kept have the password of the stack before until the operator has seen this one's.
            **({"PROVISION_LOGIN_WAIT_S": "60"} if settings.mode == "cloudnativepg" else {}),
            "PGPASSWORD_FILE": f"{SECRETS}/password",
            "PROVISION_MIGRATOR_CONNECTIONS": str(postgres_connections.MIGRATOR),
            "PROVISION_BACKUP_CONNECTIONS": str(postgres_connections.BACKUP),
            "PROVISION_MONITOR_CONNECTIONS": str(postgres_connections.MONITOR),
            # The settings know how many connections the stack's own server accepts, and not how many another one does.
            **({"PROVISION_REQUIRE_CONNECTIONS": "true"} if settings.mode == "external" else {}),
            "PROVISION_TABLE": "/etc/provisioning/databases",
            "PROVISION_PASSWORDS_DIR": "/run/secrets/roles",
        },
        file_sets=(
            FileSet(
                name="scripts",
                directory="/assets",
                files={"provision.sh": asset("postgres/provision.sh"), **assets("postgres", "*.sql")},
            ),
            FileSet(name="table", directory="/etc/provisioning", files={"databases": table}),
            FileSet(name="admin", directory=SECRETS, files={"password": credentials[POSTGRES_ADMIN]}, secret=True),
            FileSet(
                name="roles",
                directory="/run/secrets/roles",
                files={**passwords, BACKUP_ROLE: credentials[POSTGRES_BACKUP]},
                secret=True,
            ),
        ),
        scratch=(
            Scratch(path="/tmp"),  # noqa: S108 - a mount of its own
            # The image declares it as a volume.
            Scratch(path="/var/lib/postgresql", size_mib=1),
        ),
        memory_mib=64,
        needs=access.server,
        calls=(access.endpoint,),
    )
