"""Read a stack's configuration from its file, without the pulumi command."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import yaml

from operations.project import ROOT, OperationError
from settings import NAMESPACE, Settings, SettingsError, parse


def read_configuration(stack: str, changes: Mapping[str, Mapping[str, Any]] | None = None) -> tuple[Settings, set[str]]:
    """Return the settings of `Pulumi.<stack>.yaml` and the keys of its secrets, without decrypting them.

    Args:
        stack: its name.
        changes: keys of sections with other values, which aren't written to the file.
    """
    path = ROOT / f"Pulumi.{stack}.yaml"
    if not path.exists():
        known = ", ".join(sorted(file.name.split(".")[1] for file in ROOT.glob("Pulumi.*.yaml"))) or "none"
        raise OperationError(f"There is no {path.name}; existing stacks: {known}.")
    try:
        source = path.read_text()
        raw: dict[str, Any] = (yaml.safe_load(source) or {}).get("config", {})
    except yaml.YAMLError as error:
        raise OperationError(f"{path.name} is not valid YAML: {error}") from None
    for section, values in (changes or {}).items():
        key = f"{NAMESPACE}:{section}"
        raw[key] = {**(raw.get(key) or {}), **values}
    secret = {key for key, value in raw.items() if isinstance(value, dict) and "secure" in value}
    # Encrypted values aren't validated here.
    texts = {key: "encrypted" if key in secret else _as_text(value) for key, value in raw.items()}
    try:
        settings = parse(texts, secret, with_secrets=False, source=source, stack=stack)
        return settings, {key.removeprefix(f"{NAMESPACE}:") for key in secret}
    except SettingsError as error:
        raise OperationError(str(error)) from None


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
