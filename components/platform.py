"""The platform: the only place that connects the components."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi

import contract
from backends.base import Backend
from components.credentials import Credentials
from components.dev_tools import DevTools, DevToolsArgs
from components.frontend import Frontend, FrontendArgs
from components.gateway import Gateway, GatewayArgs, nginx
from components.gateway.declaration import Upstream
from components.microservice import Microservice, MicroserviceArgs
from components.monitoring import Monitoring, MonitoringArgs, Nginx
from components.offsite import Offsite, OffsiteArgs
from components.outputs import output_credentials, stack_outputs
from components.stores import DataLayer, StoreArgs
from components.stores.postgres import PostgresStore
from components.stores.redis import RedisStore
from components.urls import Urls
from settings import Settings
from settings.catalog import API_SUBDOMAIN
from settings.credentials import required_credentials
from settings.ports import kong_admin_api, runs_nginx
from workloads import Endpoint

TYPE = "pti-calendar:index:Platform"


@dataclass(frozen=True, kw_only=True)
class PlatformArgs:
    """Arguments of one stack."""

    settings: Settings
    backend: Backend
    stack: str
    """Name of the stack, which stateful software stores in its data."""


class Platform(pulumi.ComponentResource):
    """All components of a stack's settings."""

    outputs: contract.StackOutputs[pulumi.Output[str]]

    def __init__(self, name: str, args: PlatformArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(TYPE, name, None, opts)
        settings = args.settings
        child_options = pulumi.ResourceOptions(parent=self)
        credentials = Credentials(
            "credentials",
            required=required_credentials(settings),
            source=settings.credentials,
            protect=settings.protect,
            opts=child_options,
        )
        data = DataLayer(
            "data-layer",
            StoreArgs(settings=settings, backend=args.backend, credentials=credentials, cluster=args.stack),
            child_options,
        )
        if settings.dev_tools.enabled:
            DevTools(
                "dev-tools",
                DevToolsArgs(backend=args.backend, tools=settings.dev_tools, stores=tuple(data.stores.values())),
                child_options,
            )
        secrets = output_credentials(settings, credentials, data)
        for service in settings.services.deployed:
            Microservice(
                service.name,
                MicroserviceArgs(
                    service=service,
                    config=settings.services.resolve(service),
                    migration_command=settings.services.migration_command,
                    environment=settings.services.environment,
                    backend=args.backend,
                    stores=data.stores,
                    postgres=data.store(PostgresStore),
                    secrets=secrets,
                ),
                child_options,
            )
        urls = Urls(settings.gateway, settings.edge)
        for frontend in settings.frontends.deployed:
            Frontend(
                frontend.name,
                FrontendArgs(
                    frontend=frontend,
                    config=settings.frontends.resolve(frontend),
                    api_url=urls.api,
                    backend=args.backend,
                ),
                child_options,
            )
        if settings.gateway.enabled:
            origins, local_host = settings.gateway.cors_origins, args.backend.addressing.host_gateway
            Gateway(
                "gateway",
                GatewayArgs(
                    settings=settings.gateway,
                    edge=settings.edge,
                    admin_api=kong_admin_api(settings),
                    services=[
                        Upstream(
                            service.name,
                            service.port,
                            host_gateway=local_host if service.name in settings.services.local else None,
                            public_paths=settings.services.overrides_for(service).public_paths,
                        )
                        for service in settings.services.enabled
                    ],
                    frontends=settings.frontends.deployed,
                    cors_origins=urls.frontends if origins is None else origins,
                    redis=data.store(RedisStore),
                    backend=args.backend,
                    credentials=credentials,
                ),
                child_options,
            )
        if settings.monitoring.enabled:
            Monitoring(
                "monitoring",
                MonitoringArgs(
                    settings=settings.monitoring,
                    backups=settings.backups,
                    backend=args.backend,
                    credentials=credentials,
                    stores=tuple(data.stores.values()),
                    nginx=_nginx(settings),
                ),
                child_options,
            )
        if settings.backups.offsite.enabled:
            Offsite(
                "offsite",
                OffsiteArgs(
                    backups=settings.backups,
                    backend=args.backend,
                    credentials=credentials,
                    stack=args.stack,
                    has_monitoring=settings.monitoring.enabled,
                ),
                child_options,
            )
        self.outputs = stack_outputs(settings, secrets, data, args.backend)
        self.register_outputs({"api": self.outputs.gateway.api, "frontends": self.outputs.gateway.frontends})


def _nginx(settings: Settings) -> Nginx | None:
    if not runs_nginx(settings):
        return None
    tls = Endpoint(nginx.NAME, nginx.HTTPS_PORT)
    return Nginx(status=nginx.STATUS_ENDPOINT, tls=tls, host=settings.gateway.host(API_SUBDOMAIN))
