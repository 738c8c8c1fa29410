"""The resources that a stack's program registers, without an engine, a provider or a secret."""

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
    """Return the stack's resources in an order in which each one follows those it refers to.

    Args:
        settings: the stack's settings.
        placeholders: its secrets.
        stack: its name.
        values: values of the secrets; without them, their tokens.
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
    """Return the name of a Kubernetes object without a fixed name; it changes with the content."""
    return f"unnamed-{_hash(inputs)}"


def _provider_mock(known: Mapping[Credential, str]) -> ProviderMock:
    def mock(type_: str, inputs: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
        """Return names as IDs for networks, volumes and images; a container's ID changes with its definition."""
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
