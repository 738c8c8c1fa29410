"""pgAdmin, the web tool for PostgreSQL."""

from __future__ import annotations

import json

import contract.outputs as contract
from components.credentials import Credentials
from settings.credentials import PGADMIN
from settings.stores.postgres import POSTGRES_ADMIN
from settings.tools import PgAdminSettings
from workloads import Endpoint, ExternalEndpoint, FileSet, HttpGet, Port, Probe, Scratch, Service

SECRETS_DIRECTORY = "/run/secrets/pgadmin"


def pg_admin(
    settings: PgAdminSettings,
    connects_to: tuple[Endpoint | ExternalEndpoint, ...],
    server: contract.PostgresOutput,
    credentials: Credentials,
) -> Service:
    """Return pgAdmin, with the server already listed."""
    servers = {
        "Servers": {
            "1": {
                "Name": "PTI Calendar",
                "Group": "Servers",
                "Host": server.host,
                "Port": server.port,
                "MaintenanceDB": "postgres",
                "Username": server.admin_role,
                # The path is in the user's storage, to which the image's entry point copies PGPASS_FILE.
                "ConnectionParameters": {"sslmode": "prefer", "passfile": "/.pgpass"},
            }
        }
    }
    return Service(
        name="pgadmin",
        image=settings.image,
        user=5050,
        environment={
            "PGADMIN_DEFAULT_EMAIL": settings.email,
            "PGADMIN_DEFAULT_PASSWORD_FILE": f"{SECRETS_DIRECTORY}/password",
            "PGADMIN_LISTEN_PORT": "5050",
            "PGADMIN_SERVER_JSON_FILE": "/etc/pgadmin/servers.json",
            "PGPASS_FILE": f"{SECRETS_DIRECTORY}/pgpass",
            # The image's default location for this file is in its read-only root.
            "PGADMIN_CUSTOM_CONFIG_DISTRO_FILE": "/run/pgadmin/config_distro.py",
            "PGADMIN_CONFIG_MASTER_PASSWORD_REQUIRED": "False",
            # Disable external requests: the version check and Gravatar.
            "PGADMIN_CONFIG_UPGRADE_CHECK_ENABLED": "False",
            "PGADMIN_CONFIG_SHOW_GRAVATAR_IMAGE": "False",
            # The image's mail server needs root. A forgotten password can be read from the configuration.
            "PGADMIN_DISABLE_POSTFIX": "1",
        },
        ports=(Port(name="http", number=5050, publish=settings.port),),
        file_sets=(
            FileSet(name="servers", directory="/etc/pgadmin", files={"servers.json": json.dumps(servers, indent=2)}),
            FileSet(
                name="passwords",
                directory=SECRETS_DIRECTORY,
                files={
                    "password": credentials[PGADMIN],
                    "pgpass": credentials[POSTGRES_ADMIN].apply(lambda password: _pgpass(server, password)),
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
        connects_to=connects_to,
    )


def _pgpass(server: contract.PostgresOutput, password: str) -> str:
    """Return a line of a libpq password file (https://www.postgresql.org/docs/current/libpq-pgpass.html)."""
    escaped = password.replace("\\", "\\\\").replace(":", "\\:")
    return f"{server.host}:{server.port}:*:{server.admin_role}:{escaped}\n"
