"""The prod stack's configuration without its secrets and its cluster, as in `make preview`."""

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
    """Return the content of the stack's file, without its secrets and cluster access."""
    return without_secrets_and_cluster(yaml.safe_load((ROOT / f"Pulumi.{STACK}.yaml").read_text()))


def placeholders_of_prod() -> dict[str, str]:
    """Map the full keys of supplied secrets to placeholders."""
    settings, supplied = read_configuration(STACK)
    needed = {credential.key for credential in supplied_credentials(settings)} | supplied
    return {f"{NAMESPACE}:{key}": PLACEHOLDER for key in sorted(needed)}


def texts_of_prod() -> tuple[dict[str, str], list[str]]:
    """Return all of it as Pulumi passes it to a program, and the keys of the secrets."""
    config = document_of_prod()["config"]
    secret = placeholders_of_prod()
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in config.items()}
    return texts | secret, list(secret)
