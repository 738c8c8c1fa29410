"""PostgreSQL: the server, if the stack runs it, and the task that provisions its databases."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pulumi

import contract.outputs as contract
from backends.base import DeployOptions
from backends.refusals import require_part
from capabilities import Capability
from components.assets import asset
from components.exporter import NOBODY_UID, exporter
from components.exporter import SECRETS_DIRECTORY as EXPORTER_SECRETS
from components.stores.postgres.archive import archive
from components.stores.postgres.backup import backup
from components.stores.postgres.databases import BACKUP_ROLE, MONITOR_ROLE, TASK_NAME, databases
from components.stores.postgres.pgadmin import pg_admin
from components.stores.postgres.restore_drill import restore_drill
from components.stores.postgres.server import ENDPOINT, cluster, server
from components.stores.postgres.tenants import tenants
from components.stores.store import ServerMetrics, Store, StoreArgs
from settings.catalog import SERVICES
from settings.credentials import POSTGRES_MONITOR, app_role_credential, migrator_role_credential
from settings.monitoring import ExportersSettings
from settings.stores.postgres import POSTGRES_ADMIN, POSTGRES_BACKUP
from settings.tools import DevToolsSettings
from workloads import METRICS_PORT, Endpoint, ExternalEndpoint, FileSet, Workload

ADMIN_ROLE = "postgres"
QUERIES_DIRECTORY, QUERIES = "/etc/postgres-exporter", "exporter_queries.yml"


@dataclass(frozen=True, kw_only=True)
class PostgresStore(Store[contract.PostgresOutput]):
    """PostgreSQL with a database per service. Clients wait for the task that creates the databases."""

    @property
    def secret(self) -> dict[str, pulumi.Output[str]]:
        """Map each role that may log in to its password."""
        credentials = self.args.credentials
        passwords = {
            self.internal.admin_role: credentials[POSTGRES_ADMIN],
            BACKUP_ROLE: credentials[POSTGRES_BACKUP],
        }
        for service in SERVICES:
            passwords[service.role("app")] = credentials[app_role_credential(service)]
            passwords[service.role("migrator")] = credentials[migrator_role_credential(service)]
        return passwords

    def exporter(self, images: ExportersSettings) -> Workload:
        """Return the exporter of PostgreSQL. Its role can read statistics, but no rows."""
        server = self.internal
        workload = exporter(
            "postgres",
            image=images.postgres,
            user=NOBODY_UID,
            port=9187,
            # This collector exports the start time, which shows repeated restarts.
            arguments=("--collector.postmaster",),
            environment={
                "DATA_SOURCE_URI": f"{server.host}:{server.port}/postgres?sslmode={server.ssl_mode}",
                "DATA_SOURCE_USER": MONITOR_ROLE,
                "DATA_SOURCE_PASS_FILE": f"{EXPORTER_SECRETS}/password",
            },
            secrets={"password": self.args.credentials[POSTGRES_MONITOR]},
            connects_to=self.connects_to,
            depends_on=self.depends_on,
        )
        if not (self.args.settings.backups.enabled or self.args.settings.tenants.enabled):
            return workload
        # The exporter discourages queries of one's own, but its built-in collectors know nothing about these tasks.
        queries = FileSet(name="queries", directory=QUERIES_DIRECTORY, files={QUERIES: asset(f"postgres/{QUERIES}")})
        return replace(
            workload,
            arguments=(*workload.arguments, f"--extend.query-path={QUERIES_DIRECTORY}/{QUERIES}"),
            file_sets=(*workload.file_sets, queries),
        )

    def web_tool(self, tools: DevToolsSettings) -> Workload:
        """Return pgAdmin."""
        return pg_admin(tools.pg_admin, self.connects_to, self.internal, self.args.credentials)


def deploy(args: StoreArgs, options: DeployOptions) -> PostgresStore:
    """Deploy the server of the chosen mode, unless it is external, and provision the databases."""
    settings, backend, external = args.settings.postgres, args.backend, args.settings.postgres.external
    point_in_time = args.settings.backups.point_in_time
    endpoint: Endpoint | ExternalEndpoint = ENDPOINT
    admin, ssl_mode = ADMIN_ROLE, "disable"
    depends_on: tuple[str, ...] = (ENDPOINT.workload,)
    server_metrics: ServerMetrics | None = None
    if settings.mode == "single":
        kept_wal_gib = point_in_time.max_wal_gib if point_in_time.enabled else None
        backend.deploy(server(settings, args.credentials, kept_wal_gib=kept_wal_gib), options)
    elif settings.mode == "cloudnativepg":
        what = "PostgreSQL on several nodes"
        operator = require_part(backend.postgres_operator, what, backend.kind, Capability.POSTGRES_OPERATOR)
        endpoint = operator.deploy_postgres_cluster(cluster(settings, args.credentials), options)
        ssl_mode = "require"
        metrics = Endpoint(ENDPOINT.workload, METRICS_PORT)
        server_metrics = ServerMetrics(
            endpoint=metrics, instances=settings.cloudnativepg.instances, job="cloudnativepg"
        )
    else:
        endpoint = ExternalEndpoint(external.host or "", external.port, external.cidrs)
        admin, ssl_mode, depends_on = external.admin, external.ssl_mode, ()
    internal = contract.PostgresOutput(
        host=endpoint.host,
        port=endpoint.port,
        ssl_mode=ssl_mode,
        admin_role=admin,
        backup_role=BACKUP_ROLE,
        databases={
            service.name: contract.DatabaseOutput(
                name=service.database,
                app_role=service.role("app"),
                migrator_role=service.role("migrator"),
                pool_max=args.settings.services.pool_max_for(service),
            )
            for service in SERVICES
        },
    )
    host, port = args.published(endpoint, settings.port)
    backend.deploy(databases(args, (endpoint,), internal, depends_on=depends_on), options)
    if args.settings.backups.enabled:
        backend.deploy(backup(args, (endpoint,), internal), options)
    if args.settings.backups.drill.enabled:
        backend.deploy(restore_drill(args, (endpoint,), internal), options)
    if point_in_time.enabled:
        backend.deploy(archive(args, (endpoint,), internal), options)
    if args.settings.tenants.enabled:
        backend.deploy(tenants(args, (endpoint,), internal), options)
    return PostgresStore(
        args=args,
        connects_to=(endpoint,),
        depends_on=(TASK_NAME,),
        internal=internal,
        published=replace(internal, host=host, port=port),
        server_metrics=server_metrics,
    )
