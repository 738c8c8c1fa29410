"""PostgreSQL's server, or the cluster that CloudNativePG runs."""

from __future__ import annotations

from pathlib import PurePosixPath

from components.assets import asset
from components.credentials import Credentials
from components.stores.postgres.parameters import parameters
from settings.stores.postgres import POSTGRES_ADMIN, PostgresSettings
from workloads import (
    RECOVERY_S,
    Endpoint,
    Exec,
    FileSet,
    FixedSetting,
    Liveness,
    Port,
    PostgresCluster,
    Probe,
    Scratch,
    StatefulService,
    Volume,
)

ENDPOINT = Endpoint("postgres", 5432)

UID = 999
SCRIPTS_DIRECTORY = "/assets"
SECRETS_DIRECTORY = "/run/secrets/postgres"
SOCKET_DIRECTORY = "/var/run/postgresql"
SCRIPTS = (
    *("start.sh", "ready.sh", "alive.sh"),
    *("upgrade.sh", "upgrade_steps.sh", "upgrade_facts.sql", "upgrade_roles.sql", "backup/rows.sql"),
)

INITDB_OPTIONS = (
    # This collation doesn't change with the operating system. A change would break indexes.
    "--auth-host=scram-sha-256 --data-checksums --encoding=UTF8 "
    "--locale=C.UTF-8 --locale-provider=builtin --builtin-locale=C.UTF-8"
)

MAJOR_CHANGE_REMEDY = (
    "A server of another major version can't read the data. Restore the setting, then upgrade: "
    "docs/store-upgrades.md#postgresql-another-major-version"
)

MODE_CHANGE_REMEDY = (
    "The server of the other mode starts empty, on its own volumes. Bring up a second stack in that mode, and move "
    "the data with pg_dump and pg_restore."
)


def server(settings: PostgresSettings, credentials: Credentials, *, kept_wal_gib: int | None = None) -> StatefulService:
    """Return the only PostgreSQL server.

    The data directory is named after the major version, so that an image of another version never opens it; the volume
    is mounted above it, where PostgreSQL 18's image expects it (docker-library/postgres#1259). So an upgrade leaves the
    previous version's directory as it is (assets/postgres/upgrade.sh).

    Args:
        settings: its settings.
        credentials: the superuser's password.
        kept_wal_gib: WAL that it keeps for replication slots; None: a fifth of its volume.
    """
    return StatefulService(
        name=ENDPOINT.workload,
        image=settings.image,
        user=UID,
        command=("sh", "/assets/start.sh"),
        arguments=(
            "postgres",
            *("-c", "listen_addresses=*", "-c", f"unix_socket_directories={SOCKET_DIRECTORY}"),
            *(word for name, value in parameters(settings, kept_wal_gib).items() for word in ("-c", f"{name}={value}")),
        ),
        environment={
            "PGDATA": f"/var/lib/postgresql/{settings.major}/docker",
            "PGHOST": SOCKET_DIRECTORY,
            **({"POSTGRES_PREVIOUS_MAJOR": str(settings.previous_major)} if settings.previous_major else {}),
            "POSTGRES_PASSWORD_FILE": f"{SECRETS_DIRECTORY}/password",
            "POSTGRES_INITDB_ARGS": INITDB_OPTIONS,
        },
        ports=(Port(name="postgres", number=ENDPOINT.port, publish=settings.port),),
        file_sets=(
            FileSet(
                name="scripts",
                directory=SCRIPTS_DIRECTORY,
                files={PurePosixPath(name).name: asset(f"postgres/{name}") for name in SCRIPTS},
            ),
            FileSet(
                name="admin", directory=SECRETS_DIRECTORY, files={"password": credentials[POSTGRES_ADMIN]}, secret=True
            ),
        ),
        volumes=(
            Volume(
                name="postgres-data",
                mount="/var/lib/postgresql",
                size_gib=settings.storage_gib,
                fixed=(
                    _fixed_mode(settings),
                    FixedSetting(
                        "postgres.image",
                        f"PostgreSQL {settings.major}",
                        MAJOR_CHANGE_REMEDY,
                        replaces=f"PostgreSQL {settings.previous_major}" if settings.previous_major else None,
                    ),
                ),
            ),
        ),
        scratch=(
            Scratch(path=SOCKET_DIRECTORY, size_mib=4),
            Scratch(path="/tmp", size_mib=4),  # noqa: S108 - a mount of its own
            # Parallel queries share memory here; the default of 64 MiB is too small.
            Scratch(path="/dev/shm", size_mib=settings.memory.shm_mib),  # noqa: S108 - a mount of its own
        ),
        memory_mib=settings.memory_mib,
        cpu_request=settings.cpu_request,
        # The check connects over TCP, which is closed until the data has been recovered and the password set.
        readiness=Probe(check=Exec(command=("sh", "/assets/ready.sh")), startup_s=120, period_s=2),
        liveness=Liveness(check=Exec(command=("sh", "/assets/alive.sh")), failures=12, startup_s=RECOVERY_S),
        # A fast shutdown writes a checkpoint. If PostgreSQL is killed before that, the next start replays the WAL.
        stop_grace_s=60,
    )


def cluster(settings: PostgresSettings, credentials: Credentials) -> PostgresCluster:
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


def _fixed_mode(settings: PostgresSettings) -> FixedSetting:
    # Records of existing data have the former name of the mode; another name would be refused as a change of mode.
    mode = "statefulset" if settings.mode == "single" else settings.mode
    return FixedSetting("postgres.mode", mode, MODE_CHANGE_REMEDY)
