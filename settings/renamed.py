"""Keys of earlier versions: a configuration that still has one is refused, with the key that replaces it."""

from __future__ import annotations

import copy
import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from settings.base import NAMESPACE, REMOVE, Conflict, set_to

APPLICATIONS, NAME = "<applications>", "<name>"
"""In a row, `services` or `frontends`, and the name of one of them."""


@dataclass(frozen=True)
class Renamed:
    """A row of the table: a key or, as `key: value`, one value of a key."""

    old: str
    new: str


RENAMED = (
    Renamed("gateway.edge", "edge.kind"),
    Renamed("gateway.nginx", "edge.nginx"),
    Renamed("gateway.ingress.controllerNamespace", "edge.controllerNamespace"),
    Renamed("gateway.ingress.gateway", "edge.gatewayApi.gateway"),
    Renamed("gateway.ingress.gatewayNamespace", "edge.gatewayApi.gatewayNamespace"),
    Renamed("gateway.ingress.httpsListener", "edge.gatewayApi.httpsListener"),
    Renamed("gateway.ingress.httpListener", "edge.gatewayApi.httpListener"),
    # What remains: `className` and `annotations`.
    Renamed("gateway.ingress", "edge.ingress"),
    Renamed("postgres.mode: statefulset", "postgres.mode: single"),
    Renamed("kafka.topics", "kafka.expectedTopics"),
    Renamed("kubernetes.dnsCidrs", "kubernetes.dns.cidrs"),
    Renamed("kubernetes.pullSecrets", "kubernetes.imagePullSecrets"),
    Renamed("<applications>.scaling.minimum", "<applications>.scaling.minReplicas"),
    Renamed("<applications>.scaling.maximum", "<applications>.scaling.maxReplicas"),
    Renamed("<applications>.each.<name>.scaling.minimum", "<applications>.overrides.<name>.scaling.minReplicas"),
    Renamed("<applications>.each.<name>.scaling.maximum", "<applications>.overrides.<name>.scaling.maxReplicas"),
    Renamed("<applications>.overrides.<name>.scaling.minimum", "<applications>.overrides.<name>.scaling.minReplicas"),
    Renamed("<applications>.overrides.<name>.scaling.maximum", "<applications>.overrides.<name>.scaling.maxReplicas"),
    Renamed("<applications>.each", "<applications>.overrides"),
    Renamed("monitoring.prometheus.kubelets", "monitoring.prometheus.scrapeKubelets"),
    Renamed("monitoring.exporters.probe", "monitoring.exporters.blackbox"),
    Renamed("monitoring.receivers.watchdog", "monitoring.receivers.heartbeat"),
)
"""In this order: a key below a renamed section precedes the section."""

RENAMED_SECRETS = {"watchdogWebhookUrl": "heartbeatWebhookUrl"}
"""Old to new key. Their values are encrypted."""

REMOVED = {
    "images.registry": "was removed: images.mirrors has a mirror for each upstream registry. See docs/upgrading.md",
    "postgres.sharedBuffersMib": "was removed: the cache is a quarter of postgres.memoryMib",
}
"""Keys that nothing replaces, and the problem that their error states."""


@dataclass(frozen=True)
class Moved:
    """An old key that a configuration has, and its conflict."""

    key: tuple[str, ...]
    value: Any
    conflict: Conflict


def with_present_keys(
    document: Mapping[str, Any], rows: Sequence[Renamed] = RENAMED
) -> tuple[dict[str, Any], list[Moved]]:
    """Return the configuration under the present keys, and what it has under old ones.

    The rest of it can then be validated as if the operator had moved the values.
    """
    present, found = copy.deepcopy({**document}), list[Moved]()
    for row in rows:
        (old, old_value), (new, new_value) = (_key_and_value(one) for one in (row.old, row.new))
        for path in [*_paths(present, old)]:
            value = _at(document, path)
            if old_value is not None:
                if value == old_value:
                    _at(present, path[:-1])[path[-1]] = new_value
                    problem = f"is the former name of {new_value!r}"
                    found.append(Moved(path, value, Conflict(problem, set_to(str(new_value)))))
                continue
            target = _replaced(path, old, new)
            fix = _fix(f"{NAMESPACE}:{'.'.join(target)}", value, is_set=_at(present, target) is not None)
            found.append(Moved(path, value, Conflict(f"was renamed to {'.'.join(target)}", fix)))
            _put(present, target, _take(present, path))
    return present, found


def _fix(key: str, value: Any, *, is_set: bool) -> str:
    if value == {} or (is_set and not isinstance(value, Mapping)):
        return REMOVE
    if isinstance(value, Mapping | Sequence) and not isinstance(value, str):
        return f"in Pulumi.<stack>.yaml, move the content of the key to {key}"
    text = shlex.quote(value if isinstance(value, str) else json.dumps(value))
    return f"pulumi config set --path '{key}' {text}; then {REMOVE}"


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


def _replaced(path: Sequence[str], old: Sequence[str], new: Sequence[str]) -> tuple[str, ...]:
    """Return the new path, with the names of the old one in place of the placeholders."""
    names = dict(zip(old, path, strict=True))
    return tuple(names[part] if part.startswith("<") else part for part in new)


def _at(document: Any, path: Sequence[str]) -> Any:
    for part in path:
        document = document.get(part) if isinstance(document, Mapping) else None
    return document


def _take(document: dict[str, Any], path: Sequence[str]) -> Any:
    """Remove a value, and the sections that are empty without it."""
    *above, last = path
    section = _at(document, above)
    value = section.pop(last)
    if above and not section:
        _take(document, above)
    return value


def _put(document: dict[str, Any], path: Sequence[str], value: Any) -> None:
    """Set a value. What the document has in its place takes precedence."""
    for part in reversed(path):
        value = {part: value}
    _merge(document, value)


def _merge(document: dict[str, Any], other: Mapping[str, Any]) -> None:
    for key, value in other.items():
        known = document.setdefault(key, value)
        if known is not value and isinstance(known, dict) and isinstance(value, Mapping):
            _merge(known, value)
