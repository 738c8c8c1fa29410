"""Configuration mistakes and the error entry that reports each one."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from settings import Settings, SettingsError, parse

Rule = str | tuple[str, ...]
"""Phrases that the message for a key must contain to state the rule."""

MODULE_BY_MODEL = {
    **dict.fromkeys(["Settings"], "models"),
    **dict.fromkeys(["BackendSettings", "KubernetesSettings", "DnsSettings", "ImagesSettings"], "backend"),
    **dict.fromkeys(["PostgresSettings", "CloudNativePgSettings", "ExternalPostgresSettings"], "stores/postgres"),
    **dict.fromkeys(["RedisSettings", "ExternalRedisSettings"], "stores/redis"),
    **dict.fromkeys(["KafkaSettings", "ZooKeeperSettings", "ExternalKafkaSettings"], "stores/kafka"),
    **dict.fromkeys(
        ["ServicesSettings", "FrontendsSettings", "ServiceOverrides", "AppOverrides", "ScalingSettings"], "applications"
    ),
    **dict.fromkeys(["GatewaySettings", "TlsSettings", "RateLimitSettings", "KongSettings"], "gateway"),
    **dict.fromkeys(
        ["EdgeSettings", "NginxSettings", "LoadBalancerSettings", "IngressSettings", "GatewayApiSettings"], "edge"
    ),
    **dict.fromkeys(
        ["MonitoringSettings", "PrometheusSettings", "GrafanaSettings", "AlertmanagerSettings"], "monitoring"
    ),
    **dict.fromkeys(["ExportersSettings", "ThresholdsSettings", "ReceiversSettings", "EmailSettings"], "monitoring"),
    "BackupsSettings": "backups",
    "OffsiteSettings": "offsite",
    "TenantsSettings": "tenants",
    **dict.fromkeys(["DevToolsSettings", "PgAdminSettings", "KafkaUiSettings", "RedisCommanderSettings"], "tools"),
}
"""Maps each model to the file in `settings/` that an entry names."""

NOT_SET = "(not set)"
HIDDEN_VALUE = "(not shown)"
UNKNOWN = "is an unknown key"


def parsed(configuration: Mapping[str, Any], encrypted: Collection[str] = ()) -> Settings:
    """Parse settings from keys without namespace; values other than text become JSON, as in Pulumi."""
    raw = {
        f"pti-calendar:{key}": one if isinstance(one, str) else json.dumps(one) for key, one in configuration.items()
    }
    return parse(raw, {f"pti-calendar:{key}" for key in encrypted})


def refusal(configuration: Mapping[str, Any], encrypted: Collection[str] = ()) -> str:
    """Return the error message for an invalid configuration."""
    with pytest.raises(SettingsError) as refused:
        parsed(configuration, encrypted)
    return str(refused.value)


def refused_keys(configuration: Mapping[str, Any], encrypted: Collection[str] = ()) -> dict[str, str]:
    """Map each refused key to its problem and fix, one per line."""
    return {one.key: f"{one.problem}\n{one.fix or ''}" for one in entries(refusal(configuration, encrypted))}


def assert_refused(found: Mapping[str, str], expected: Mapping[str, Rule]) -> None:
    """Check that exactly these keys are refused, and that each message contains the phrases of its rule."""
    assert found.keys() == expected.keys()
    for key, rule in expected.items():
        for phrase in [rule] if isinstance(rule, str) else rule:
            assert phrase in found[key], key


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One mistake as reported in the message."""

    key: str
    value: str
    problem: str
    fix: str | None
    default: str | None


def entries(message: str) -> list[Entry]:
    """Split a message into its entries, in order."""
    count, *mistakes, where = message.split("\n\n")
    assert re.fullmatch(r"(1 mistake|\d+ mistakes) in the stack's configuration; nothing has been changed\.", count)
    assert int(count.split()[0]) == len(mistakes)
    assert where == "Every key is described in docs/configuration.md."
    return [_entry(one) for one in mistakes]


def _entry(text: str) -> Entry:
    """Parse an entry: key, value, problem, fix and default, in that order; the last two are optional."""
    shape = r"pti-calendar:(.+)\n  value:   (.+)\n  problem: (.+)(?:\n  fix:     (.+))?(?:\n  default: (.+))?"
    match = re.fullmatch(shape, text)
    assert match, text
    return Entry(key=match[1], value=match[2], problem=match[3], fix=match[4], default=match[5])


@dataclass(frozen=True, kw_only=True)
class ExpectedEntry:
    """The expected entry: exact key, value and default, and phrases that the problem and the fix must contain."""

    key: str
    value: str
    problem: str
    fix: str
    default: str | None


def expected_entry(
    key: str,
    *,
    value: str,
    must_be: str | None = None,
    problem: str = "",
    fix: str = "",
    default: str | None = None,
) -> ExpectedEntry:
    """Return an expected entry; `must_be` is the exact description of the allowed values."""
    assert (must_be is None) is bool(problem)
    assert fix or must_be
    return ExpectedEntry(key=key, value=value, problem=problem or f"must be {must_be}", fix=fix, default=default)


def default(value: str, model: str) -> str:
    """Return the line that states the default and the file that defines it."""
    return f"{value} (class {model} in settings/{MODULE_BY_MODEL[model]}.py)"


@dataclass(frozen=True)
class InvalidConfiguration:
    """A configuration with one mistake, and the expected entry."""

    description: str
    configuration: Mapping[str, Any]
    expected: ExpectedEntry
    encrypted: tuple[str, ...] = ()

    def check(self) -> None:
        """Check that the message contains this entry and no other."""
        (found,) = entries(refusal(self.configuration, self.encrypted))
        expected = self.expected
        assert (found.key, found.value, found.default) == (expected.key, expected.value, expected.default)
        if expected.problem.startswith("must be "):
            assert (found.problem, found.fix or "") == (expected.problem, expected.fix)
        else:
            assert expected.problem in found.problem
            assert expected.fix in (found.fix or "")
