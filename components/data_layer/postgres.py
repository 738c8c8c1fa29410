"""PostgreSQL: the server, and the task that brings databases, roles and grants to what the services need."""

from __future__ import annotations

from components.assets import asset, assets
from components.credentials import Credentials
from components.endpoint import Endpoint
from settings.catalog import SERVICES
from settings.credentials import POSTGRES_ADMIN, POSTGRES_BACKUP, app_role, migrator_role
from settings.models import Postgres
from workloads import Exec, FileSet, Kind, Port, Probe, Scratch, Volume, Workload

ENDPOINT = Endpoint("postgres", 5432)
DATABASES = "databases"
ADMIN = "postgres"
BACKUP_ROLE = "pti_backup"

USER = 999
SECRETS = "/run/secrets/postgres"


def server(settings: Postgres, credentials: Credentials) -> Workload:
    """The one PostgreSQL server.

    The data directory is named after the major version, so that an image of another one never opens it; the volume
    is mounted above it, where PostgreSQL 18's image expects it (docker-library/postgres#1259).
    """
    tuning = {"shared_buffers": f"{settings.shared_buffers_mib}MB", "max_connections": str(settings.max_connections)}
    return Workload(
        name=ENDPOINT.workload,
        kind=Kind.STATEFUL,
        image=settings.image,
        user=USER,
        command=("sh", "/assets/start.sh"),
        arguments=("postgres", *(word for name, value in tuning.items() for word in ("-c", f"{name}={value}"))),
        environment={
            "PGDATA": f"/var/lib/postgresql/{settings.major}/docker",
            "POSTGRES_PASSWORD_FILE": f"{SECRETS}/password",
            # Sorting that no operating system upgrade changes under an index.
            "POSTGRES_INITDB_ARGS": "--auth-host=scram-sha-256 --data-checksums --encoding=UTF8 "
            "--locale=C.UTF-8 --locale-provider=builtin --builtin-locale=C.UTF-8",
        },
        ports=(Port(name="postgres", number=ENDPOINT.port, publish=settings.port),),
        file_sets=(
            FileSet(name="scripts", directory="/assets", files={"start.sh": asset("postgres/start.sh")}),
            FileSet(name="admin", directory=SECRETS, files={"password": credentials[POSTGRES_ADMIN]}, secret=True),
        ),
        volumes=(Volume(name="postgres-data", mount="/var/lib/postgresql"),),
        scratch=(
            Scratch(path="/var/run/postgresql"),
            Scratch(path="/tmp"),  # noqa: S108 - a mount of its own
            # Parallel queries share memory here; the 64 MiB containers get by default are soon too few.
            Scratch(path="/dev/shm", size_mib=128),  # noqa: S108 - a mount of its own
        ),
        memory_mib=settings.memory_mib,
        # Over TCP: the image's first start runs a server that listens on the socket alone.
        readiness=Probe(
            check=Exec(command=("pg_isready", "-q", "-h", "127.0.0.1", "-U", ADMIN)), startup_s=120, period_s=2
        ),
        # A fast shutdown writes a checkpoint; killed earlier, the next start replays the log instead.
        stop_grace_s=60,
    )


def databases(settings: Postgres, credentials: Credentials) -> Workload:
    """The task that creates what is missing, corrects what differs, and drops nothing."""
    roles = {f"{service.database}_app": app_role(service) for service in SERVICES}
    roles |= {f"{service.database}_migrator": migrator_role(service) for service in SERVICES}
    passwords = {role: credentials[credential] for role, credential in roles.items()}
    table = "".join(f"{service.name} {service.database}\n" for service in SERVICES)
    return Workload(
        name=DATABASES,
        kind=Kind.TASK,
        image=settings.image,
        user=USER,
        command=("sh", "/assets/provision.sh"),
        environment={
            "PGHOST": ENDPOINT.workload,
            "PGPORT": str(ENDPOINT.port),
            "PGUSER": ADMIN,
            "PGPASSWORD_FILE": f"{SECRETS}/password",
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
        scratch=(Scratch(path="/tmp"),),  # noqa: S108 - a mount of its own
        memory_mib=64,
        needs=(ENDPOINT.workload,),
        calls=(ENDPOINT.workload,),
    )
