"""The platform: the only place where components meet."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi

import contract
from backends.base import Backend
from components.credentials import Credentials
from components.data_layer import DataLayer, DataLayerArgs
from components.dev_tools import DevTools, DevToolsArgs
from components.outputs import stack_outputs
from settings import Settings

TYPE = "pti-calendar:index:Platform"


@dataclass(frozen=True, kw_only=True)
class PlatformArgs:
    """One stack of the platform."""

    settings: Settings
    backend: Backend
    stack: str
    """Name of the stack, which stateful engines keep in their data."""


class Platform(pulumi.ComponentResource):
    """Everything a stack's settings ask for."""

    outputs: contract.StackOutputs[pulumi.Output[str]]

    def __init__(self, name: str, args: PlatformArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(TYPE, name, None, opts)
        settings = args.settings
        below = pulumi.ResourceOptions(parent=self)
        credentials = Credentials(
            "credentials",
            required=settings.required_credentials(),
            source=settings.credentials,
            protect=settings.protect,
            opts=below,
        )
        data = DataLayer(
            "data-layer",
            DataLayerArgs(
                backend=args.backend,
                credentials=credentials,
                postgres=settings.postgres,
                redis=settings.redis,
                kafka=settings.kafka,
                cluster=args.stack,
            ),
            below,
        )
        if settings.dev_tools.enabled:
            DevTools(
                "dev-tools",
                DevToolsArgs(
                    backend=args.backend,
                    credentials=credentials,
                    tools=settings.dev_tools,
                    postgres=data.postgres,
                    redis=data.redis,
                    kafka=data.kafka,
                ),
                below,
            )
        self.outputs = stack_outputs(settings, credentials, host=args.backend.published_host)
        self.register_outputs({})
