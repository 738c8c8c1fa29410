"""Frontend: one of the application teams' web applications, as docs/service-contract.md describes it."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi

from backends.base import Backend, DeployOptions
from components.scaling import autoscaling
from settings.applications import AppConfig
from settings.catalog import FrontendSpec
from workloads import Endpoint, Health, HttpGet, Liveness, Port, Probe, Scratch, Service

TYPE = "pti-calendar:index:Frontend"

UID = 101
HEALTH_PATH = "/health"


@dataclass(frozen=True, kw_only=True)
class FrontendArgs:
    """One front end."""

    frontend: FrontendSpec
    config: AppConfig
    api_url: str
    """Public URL of the API."""

    backend: Backend


class Frontend(pulumi.ComponentResource):
    """A web application. It serves static files; its requests come from the browser and go through the gateway."""

    def __init__(self, name: str, args: FrontendArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(TYPE, name, None, opts)
        args.backend.deploy(_web_server(args), DeployOptions(parent=self))
        self.register_outputs({"endpoint": str(Endpoint(args.frontend.name, args.frontend.port))})


def _web_server(args: FrontendArgs) -> Service:
    frontend, config = args.frontend, args.config
    return Service(
        name=frontend.name,
        image=config.image,
        has_upstream_image=False,
        user=UID,
        environment={"PORT": str(frontend.port), "FRONTEND_NAME": frontend.name, "API_URL": args.api_url},
        ports=(Port(name="http", number=frontend.port),),
        scratch=(Scratch(path="/tmp"),),  # noqa: S108 - a mount of its own
        memory_mib=config.memory_mib,
        cpu_request=config.cpu_request,
        replicas=config.replicas,
        autoscaling=autoscaling(config.scaling),
        readiness=Probe(check=HttpGet(port=frontend.port, path=HEALTH_PATH)),
        liveness=Liveness(check=HttpGet(port=frontend.port, path=HEALTH_PATH)),
        health=Health(port=frontend.port, path=HEALTH_PATH, job="frontend"),
    )
