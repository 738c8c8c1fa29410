"""What a stack's program registers, without an engine, a provider or a secret."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from operations.project import PROJECT
from operations.render.placeholders import TLS_CERTIFICATE, TLS_PRIVATE_KEY, Placeholders, token
from recording.recorder import ProviderMock, Registration, record
from settings import NAMESPACE, Settings
from settings.credential import Credential


def recorded_resources(
    settings: Settings, placeholders: Placeholders, stack: str, values: Mapping[Credential, str] | None = None
) -> list[Registration]:
    """The stack's resources, in an order in which none comes before what it refers to.

    Args:
        settings: of the stack.
        placeholders: its secrets.
        stack: its name.
        values: of the secrets; without them, their tokens.
    """
    from backends.addresses import Addresses
    from backends.create import create_backend
    from components.platform import Platform, PlatformArgs

    known = {credential: token(credential) for credential in placeholders.by_credential} | dict(values or {})
    supplied = {f"{NAMESPACE}:{one.key}": value for one, value in known.items() if one.key}

    def program() -> None:
        with Addresses(project=PROJECT, stack=stack):
            backend = create_backend(settings, stack=stack)
            Platform("platform", PlatformArgs(settings=settings, backend=backend, stack=stack))

    return record(program, mock=_provider_mock(known), raw=supplied, secret=list(supplied), stack=stack).registrations


def provisional_name(inputs: Mapping[str, Any]) -> str:
    """What an object of Kubernetes is called while it has no name of its own: other contents, another name."""
    return f"unnamed-{_hash(inputs)}"


def _provider_mock(known: Mapping[Credential, str]) -> ProviderMock:
    def mock(type_: str, inputs: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
        """Networks, volumes and images by their names; a container by an id that changes with its definition."""
        if type_.startswith("kubernetes:"):
            metadata = {"name": provisional_name(inputs), **inputs["metadata"]}
            return metadata["name"], {"metadata": metadata}
        if type_.endswith(":RemoteImage"):
            return str(inputs["name"]), {"imageId": inputs["name"]}
        if type_.endswith(":Container"):
            return _hash(inputs), {}
        if type_.endswith(":PrivateKey"):
            return "key", {"privateKeyPem": known[TLS_PRIVATE_KEY]}
        if type_.endswith(":SelfSignedCert"):
            return "certificate", {"certPem": known[TLS_CERTIFICATE]}
        return str(inputs.get("name", type_)), {}

    return mock


def _hash(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
