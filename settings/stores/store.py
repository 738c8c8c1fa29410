"""What the settings of all stores have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Iterator, Mapping
from typing import ClassVar

from settings.base import (
    REMOVE_COMMAND,
    Conflict,
    Section,
    unused_keys,
)
from settings.credential import Credential

CPU_REQUEST_DESCRIPTION = "CPU request in cores."
STORAGE_DESCRIPTION = (
    "Size of the volume in GiB. It can grow, but not shrink. On Docker, volumes share the engine's disk."
)
EXTERNAL_CIDRS_DESCRIPTION = "Address ranges of the server, which network policies allow. Default: any public address."
REQUIRED_PROBLEM = "is required with the mode 'external'"


class StoreSettings(Section):
    """A store: how it runs, or its external address."""

    credentials: ClassVar[tuple[Credential, ...]]
    """Credentials of the store."""

    login: ClassVar[Credential]
    """The login that an external server requires."""

    mode: str
    """Each store declares its own modes; the server of the mode `external` is managed elsewhere."""

    @property
    def is_external(self) -> bool:
        """Return whether its server is managed elsewhere."""
        return self.mode == "external"

    @property
    def unused_credentials(self) -> tuple[Credential, ...]:
        """Return those of its credentials that this configuration doesn't use."""
        return ()

    @abstractmethod
    def external_hosts(self) -> Iterator[tuple[str, str | None]]:
        """Yield each host of an external server, after its key in this section; None if it isn't set."""

    def host_ports(self) -> Iterator[tuple[str, Section]]:
        """Yield each section with the `port` of one of its own servers, after the section's path below this one."""
        yield "", self


def unused_settings_of_server(store: StoreSettings, *, used: Collection[str]) -> dict[str, Conflict]:
    """Return a conflict for each setting of the server that is set although the server is managed elsewhere."""
    if not store.is_external:
        return {}
    names = [name for name in type(store).model_fields if name not in used]
    return unused_keys(store, names, reason="in the mode 'external': the server is managed elsewhere")


def unused_mode_sections(store: StoreSettings, modes: Mapping[str, str]) -> dict[str, Conflict]:
    """Return a conflict for each section that the mode doesn't use."""
    return {
        key: Conflict(f"has no effect in the mode '{store.mode}'", f"{REMOVE_COMMAND}; or set mode to '{wanted}'")
        for key, wanted in modes.items()
        if store.mode != wanted and key in store.model_fields_set
    }
