"""The stores behind every service."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

import pulumi

from backends.base import DeployOptions
from components.stores.store import Store, StoreArgs, StoreType

TYPE = "pti-calendar:index:DataLayer"


class DataLayer(pulumi.ComponentResource):
    """All stores of the settings, each run by the stack or managed elsewhere.

    They start side by side. A client that needs a database waits for the task that creates it.
    """

    stores: Mapping[str, Store[Any]]
    """Maps sections of the settings to stores, in the order of the settings."""

    def __init__(self, name: str, args: StoreArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(TYPE, name, None, opts)
        self.stores = {section: _module(section)(args, DeployOptions(parent=self)) for section in args.settings.stores}
        self.register_outputs({name: ",".join(map(str, store.connects_to)) for name, store in self.stores.items()})

    def store(self, kind: type[StoreType]) -> StoreType:
        """Return the store of a type, for a component that needs this store."""
        return next(one for one in self.stores.values() if isinstance(one, kind))


def _module(section: str) -> Callable[..., Store[Any]]:
    """Return `deploy` from the module of a store, which has the name of its section."""
    deploy: Callable[..., Store[Any]] = import_module(f"components.stores.{section}").deploy
    return deploy
