"""The stack's outputs, made from its settings and credentials."""

from __future__ import annotations

import pulumi

import contract.outputs as contract
from components.credentials import Credentials
from components.data_layer import postgres
from settings import Settings
from settings.catalog import SERVICES
from settings.credentials import JWT, PGADMIN, POSTGRES_ADMIN, POSTGRES_BACKUP, REDIS, app_role, migrator_role


def stack_outputs(
    settings: Settings, credentials: Credentials, *, host: str
) -> contract.StackOutputs[pulumi.Output[str]]:
    """What the stack tells other programs; `host` is where its published ports are."""
    databases = {
        service.name: contract.Database(
            name=service.database,
            app_role=f"{service.database}_app",
            migrator_role=f"{service.database}_migrator",
        )
        for service in SERVICES
    }
    passwords = {postgres.ADMIN: credentials[POSTGRES_ADMIN], postgres.BACKUP_ROLE: credentials[POSTGRES_BACKUP]}
    for service in SERVICES:
        passwords[databases[service.name].app_role] = credentials[app_role(service)]
        passwords[databases[service.name].migrator_role] = credentials[migrator_role(service)]
    tools = settings.dev_tools
    return contract.StackOutputs(
        contract_version=contract.CONTRACT_VERSION,
        postgres=contract.Postgres(
            host=host,
            port=settings.postgres.port,
            admin_role=postgres.ADMIN,
            backup_role=postgres.BACKUP_ROLE,
            databases=databases,
        ),
        redis=contract.Redis(host=host, port=settings.redis.port),
        kafka=contract.Kafka(bootstrap_servers=f"{host}:{settings.kafka.port}"),
        tools=contract.Tools(
            pg_admin=f"http://{host}:{tools.pg_admin.port}" if tools.enabled else None,
            kafka_ui=f"http://{host}:{tools.kafka_ui.port}" if tools.enabled else None,
            redis_commander=f"http://{host}:{tools.redis_commander.port}" if tools.enabled else None,
        ),
        credentials=contract.Credentials(
            postgres=passwords,
            redis=credentials.find(REDIS),
            jwt_secret=credentials[JWT],
            pg_admin=credentials[PGADMIN] if tools.enabled else None,
        ),
    )
