"""The prod stack's configuration without secrets and cluster, as in `make preview`, for any number of services."""

from __future__ import annotations

import json
from typing import Any

import yaml

from operations.preview import PLACEHOLDER, without_secrets_and_addresses
from operations.project import ROOT
from settings import NAMESPACE, parse
from settings.catalog import SERVICES
from settings.credentials import supplied_credentials

STACK = "prod"
MAX_MEMORY_MIB = 1_048_576
"""Upper limit of `postgres.memoryMib`."""


def document_of_prod(services: int) -> dict[str, Any]:
    """Return the content of the stack's file, without its secrets and cluster access.

    PostgreSQL accepts the connections of that many services, with one connection per replica.
    """
    document = without_secrets_and_addresses(yaml.safe_load((ROOT / f"Pulumi.{STACK}.yaml").read_text()))
    config = document["config"]
    config[f"{NAMESPACE}:services"]["databasePoolMax"] = 1
    config[f"{NAMESPACE}:postgres"] |= {
        "maxConnections": 30 + 6 * services,
        "memoryMib": min(2048 * services, MAX_MEMORY_MIB),
    }
    return document


def placeholders_of_prod() -> dict[str, str]:
    """Map the full keys of the secrets that have no default to placeholders."""
    settings = parse(_texts_of(document_of_prod(len(SERVICES))), with_secrets=False)
    keys = sorted(str(credential.key) for credential in supplied_credentials(settings))
    return {f"{NAMESPACE}:{key}": PLACEHOLDER for key in keys}


def configuration_of_prod() -> tuple[dict[str, str], list[str]]:
    """Return the configuration in the form in which Pulumi passes it to a program, and the keys of its secrets."""
    secret = placeholders_of_prod()
    return _texts_of(document_of_prod(len(SERVICES))) | secret, list(secret)


def _texts_of(document: dict[str, Any]) -> dict[str, str]:
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in document["config"].items()}
