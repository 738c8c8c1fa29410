"""Keys of earlier versions: a configuration that still has one is refused, with the key that replaces it."""

from __future__ import annotations

import copy
import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from settings.base import NAMESPACE, REMOVE_COMMAND, Conflict, set_command

APPLICATIONS, NAME = "<applications>", "<name>"
"""Placeholders in a row: for `services` or `frontends`, and for the name of one application."""


@dataclass(frozen=True)
class RenamedKey:
    """A row of the table: a key or, as `key: value`, one value of a key."""

    old: str
    new: str


RENAMED = (
    RenamedKey("gateway.edge", "edge.kind"),
    RenamedKey("gateway.nginx", "edge.nginx"),
    RenamedKey("gateway.ingress.controllerNamespace", "edge.controllerNamespace"),
    RenamedKey("gateway.ingress.gateway", "edge.gatewayApi.gateway"),
    RenamedKey("gateway.ingress.gatewayNamespace", "edge.gatewayApi.gatewayNamespace"),
    RenamedKey("gateway.ingress.httpsListener", "edge.gatewayApi.httpsListener"),
    RenamedKey("gateway.ingress.httpListener", "edge.gatewayApi.httpListener"),
    # The remaining keys are `className` and `annotations`.
    RenamedKey("gateway.ingress", "edge.ingress"),
    RenamedKey("postgres.mode: statefulset", "postgres.mode: single"),
    RenamedKey("kafka.topics", "kafka.expectedTopics"),
    RenamedKey("kubernetes.dnsCidrs", "kubernetes.dns.cidrs"),
    RenamedKey("kubernetes.pullSecrets", "kubernetes.imagePullSecrets"),
    RenamedKey("<applications>.scaling.minimum", "<applications>.scaling.minReplicas"),
    RenamedKey("<applications>.scaling.maximum", "<applications>.scaling.maxReplicas"),
    RenamedKey("<applications>.each.<name>.scaling.minimum", "<applications>.overrides.<name>.scaling.minReplicas"),
    RenamedKey("<applications>.each.<name>.scaling.maximum", "<applications>.overrides.<name>.scaling.maxReplicas"),
    RenamedKey(
        "<applications>.overrides.<name>.scaling.minimum", "<applications>.overrides.<name>.scaling.minReplicas"
    ),
    RenamedKey(
        "<applications>.overrides.<name>.scaling.maximum", "<applications>.overrides.<name>.scaling.maxReplicas"
    ),
    RenamedKey("<applications>.each", "<applications>.overrides"),
    RenamedKey("monitoring.prometheus.kubelets", "monitoring.prometheus.scrapeKubelets"),
    RenamedKey("monitoring.exporters.probe", "monitoring.exporters.blackbox"),
    RenamedKey("monitoring.receivers.watchdog", "monitoring.receivers.heartbeat"),
)
"""The order matters: a key below a renamed section precedes the section."""

RENAMED_SECRETS = {"watchdogWebhookUrl": "heartbeatWebhookUrl"}
"""Maps old to new keys whose values are encrypted."""

REMOVED = {
    "images.registry": "was removed: images.mirrors has a mirror for each upstream registry. See docs/upgrading.md",
    "postgres.sharedBuffersMib": "was removed: the cache is a quarter of postgres.memoryMib",
}
"""Keys that nothing replaces, and the problem that their error states."""


@dataclass(frozen=True)
class OldKey:
    """An old key that a configuration has, and its conflict."""

    key: tuple[str, ...]
    value: Any
    conflict: Conflict


def with_current_keys(
    document: Mapping[str, Any], rows: Sequence[RenamedKey] = RENAMED
) -> tuple[dict[str, Any], list[OldKey]]:
    """Return the configuration with its values under the current keys, and the old keys that it had.

    The rest of it can then be validated as if the operator had moved the values.
    """
    present, found = copy.deepcopy({**document}), list[OldKey]()
    for row in rows:
        (old, old_value), (new, new_value) = (_key_and_value(one) for one in (row.old, row.new))
        for path in [*_paths(present, old)]:
            value = _value_at(document, path)
            if old_value is not None:
                if value == old_value:
                    _value_at(present, path[:-1])[path[-1]] = new_value
                    problem = f"is the former name of {new_value!r}"
                    found.append(OldKey(path, value, Conflict(problem, set_command(str(new_value)))))
                continue
            target = _new_path(path, old, new)
            fix = _fix(f"{NAMESPACE}:{'.'.join(target)}", value, is_set=_value_at(present, target) is not None)
            found.append(OldKey(path, value, Conflict(f"was renamed to {'.'.join(target)}", fix)))
            _set_value(present, target, _remove_value(present, path))
    return present, found


def _fix(key: str, value: Any, *, is_set: bool) -> str:
    if value == {} or (is_set and not isinstance(value, Mapping)):
        return REMOVE_COMMAND
    if isinstance(value, Mapping | Sequence) and not isinstance(value, str):
        return f"in Pulumi.<stack>.yaml, move the content of the key to {key}"
    text = shlex.quote(value if isinstance(value, str) else json.dumps(value))
    return f"pulumi config set --path '{key}' {text}; then {REMOVE_COMMAND}"


def _key_and_value(text: str) -> tuple[list[str], str | None]:
    key, _, value = text.partition(": ")
    return key.split("."), value or None


def _paths(document: Any, pattern: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Yield the paths of the document that a row stands for."""
    if not pattern:
        yield ()
    elif isinstance(document, Mapping):
        first, *rest = pattern
        known = {APPLICATIONS: ["services", "frontends"], NAME: [*document]}.get(first, [first])
        for key in known:
            if key in document:
                yield from ((key, *path) for path in _paths(document[key], rest))


def _new_path(path: Sequence[str], old: Sequence[str], new: Sequence[str]) -> tuple[str, ...]:
    """Return the new path, with the names of the old one in place of the placeholders."""
    names = dict(zip(old, path, strict=True))
    return tuple(names[part] if part.startswith("<") else part for part in new)


def _value_at(document: Any, path: Sequence[str]) -> Any:
    for part in path:
        document = document.get(part) if isinstance(document, Mapping) else None
    return document


def _remove_value(document: dict[str, Any], path: Sequence[str]) -> Any:
    """Remove a value, and the sections that are empty without it."""
    *above, last = path
    section = _value_at(document, above)
    value = section.pop(last)
    if above and not section:
        _remove_value(document, above)
    return value


def _set_value(document: dict[str, Any], path: Sequence[str], value: Any) -> None:
    """Set a value, unless the document already has one there."""
    for part in reversed(path):
        value = {part: value}
    _merge(document, value)


def _merge(document: dict[str, Any], other: Mapping[str, Any]) -> None:
    for key, value in other.items():
        known = document.setdefault(key, value)
        if known is not value and isinstance(known, dict) and isinstance(value, Mapping):
            _merge(known, value)
