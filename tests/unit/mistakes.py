"""Mistakes in a configuration, and the entry that a person reads about each."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from settings import Settings, SettingsError, parse

WRITTEN_IN = {
    **dict.fromkeys(["Settings"], "models"),
    **dict.fromkeys(["Backend", "Kubernetes", "Images"], "backend"),
    **dict.fromkeys(["Postgres", "CloudNativePg", "ExternalPostgres", "Redis", "ExternalRedis"], "stores"),
    **dict.fromkeys(["Kafka", "ZooKeeper", "ExternalKafka"], "stores"),
    **dict.fromkeys(["Services", "Frontends", "ServiceSizing", "Sizing", "Scaling"], "applications"),
    **dict.fromkeys(["Gateway", "Tls", "Nginx", "Ingress", "RateLimit", "Kong"], "gateway"),
    **dict.fromkeys(["Monitoring", "Prometheus", "Grafana", "Alertmanager", "Exporters"], "monitoring"),
    **dict.fromkeys(["Thresholds", "Receivers", "Email"], "monitoring"),
    **dict.fromkeys(["DevTools", "PgAdmin", "KafkaUi", "RedisCommander"], "tools"),
}
"""Model to the file of `settings/` that a person is sent to."""

NOTHING = "nothing: the default below"


def parsed(configuration: Mapping[str, Any], encrypted: Collection[str] = ()) -> Settings:
    """Settings from keys without their namespace; what isn't text becomes JSON, as in Pulumi's hands."""
    raw = {
        f"pti-calendar:{key}": one if isinstance(one, str) else json.dumps(one) for key, one in configuration.items()
    }
    return parse(raw, {f"pti-calendar:{key}" for key in encrypted})


def refusal(configuration: Mapping[str, Any], encrypted: Collection[str] = ()) -> str:
    """The message that refuses a configuration."""
    with pytest.raises(SettingsError) as refused:
        parsed(configuration, encrypted)
    return str(refused.value)


def refused_keys(configuration: Mapping[str, Any], encrypted: Collection[str] = ()) -> dict[str, str]:
    """Each key that a message complains of, with what is allowed there."""
    lines = refusal(configuration, encrypted).splitlines()
    keys = [line.removeprefix("pti-calendar:") for line in lines if line.startswith("pti-calendar:")]
    allowed = [line.removeprefix("  allowed: ") for line in lines if line.startswith("  allowed: ")]
    return dict(zip(keys, allowed, strict=True))


def entry(key: str, *, given: str, allowed: str, default: str | None = None) -> str:
    """One mistake as a person reads it."""
    lines = [f"pti-calendar:{key}", f"  given:   {given}", f"  allowed: {allowed}"]
    return "\n".join([*lines, *([f"  default: {default}"] if default else [])])


def default(value: str, model: str) -> str:
    """The line that says what holds without the key, and where that is written."""
    return f"{value} (class {model} in settings/{WRITTEN_IN[model]}.py)"


@dataclass(frozen=True)
class Bad:
    """A configuration with one mistake, and the entry it gets."""

    about: str
    configuration: Mapping[str, Any]
    expected: str
    encrypted: tuple[str, ...] = ()

    def check(self) -> None:
        """The message has this entry and no other."""
        assert refusal(self.configuration, self.encrypted) == (
            "1 mistake in the stack's configuration; nothing has been changed.\n\n"
            f"{self.expected}\n\n"
            "Every key is described in docs/configuration.md."
        )
