"""The prod stack's configuration for who has neither its secrets nor its cluster, as `make preview` makes it."""

from __future__ import annotations

import json
from typing import Any

import yaml

from operations.configuration import read_configuration
from operations.preview import PLACEHOLDER, without_secrets_and_cluster
from operations.project import ROOT
from settings import NAMESPACE
from settings.credentials import supplied_credentials

STACK = "prod"


def document_of_prod() -> dict[str, Any]:
    """The content of the stack's file, without its secrets and without the way to a cluster."""
    return without_secrets_and_cluster(yaml.safe_load((ROOT / f"Pulumi.{STACK}.yaml").read_text()))


def placeholders_of_prod() -> dict[str, str]:
    """Full key to placeholder, of the secrets that a person supplies."""
    settings, supplied = read_configuration(STACK)
    needed = {credential.key for credential in supplied_credentials(settings)} | supplied
    return {f"{NAMESPACE}:{key}": PLACEHOLDER for key in sorted(needed)}


def texts_of_prod() -> tuple[dict[str, str], list[str]]:
    """All of it as Pulumi hands it to a program, and the keys of the secrets."""
    config = document_of_prod()["config"]
    secret = placeholders_of_prod()
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in config.items()}
    return texts | secret, list(secret)
