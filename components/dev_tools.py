"""DevTools: the web tools of the stores, for developers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pulumi

from backends.base import Backend, DeployOptions
from components.stores import Store
from settings.tools import DevToolsSettings

TYPE = "pti-calendar:index:DevTools"


@dataclass(frozen=True, kw_only=True)
class DevToolsArgs:
    """Arguments of the tools: their settings, and the stores that they show."""

    backend: Backend
    tools: DevToolsSettings
    stores: Sequence[Store[Any]]


class DevTools(pulumi.ComponentResource):
    """pgAdmin, Redis Commander and Kafka UI, connected to the stack's stores.

    They keep no data: logins, server list and passwords are provisioned at every start. They don't wait for the stores,
    and show a store as soon as it responds.
    """

    def __init__(self, name: str, args: DevToolsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(TYPE, name, None, opts)
        tools = [tool for store in args.stores if (tool := store.web_tool(args.tools)) is not None]
        for tool in tools:
            args.backend.deploy(tool, DeployOptions(parent=self))
        self.register_outputs({tool.name: f"{tool.name}:{port.number}" for tool in tools for port in tool.ports})
