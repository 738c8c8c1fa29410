"""The fields of the objects that stacks have, in supported versions of Kubernetes, as their API servers publish them.

The unit tests read the recorded ones, so that they need no API server. If stacks get another kind of object, or a
version changes, record them again: `python -m testbed.cluster.fields`. It starts each version's API server.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from testbed import cluster
from testbed.cluster.constants import API_SERVER_VERSIONS, VERSION

VERSIONS = (API_SERVER_VERSIONS[0], VERSION, API_SERVER_VERSIONS[1])
RECORDED = Path(__file__).parent / "fields.json"
KINDS = (
    "v1 ConfigMap",
    "v1 Namespace",
    "v1 PersistentVolumeClaim",
    "v1 Secret",
    "v1 Service",
    "v1 ServiceAccount",
    "apps/v1 Deployment",
    "apps/v1 StatefulSet",
    "autoscaling/v2 HorizontalPodAutoscaler",
    "batch/v1 CronJob",
    "batch/v1 Job",
    "networking.k8s.io/v1 Ingress",
    "networking.k8s.io/v1 NetworkPolicy",
    "policy/v1 PodDisruptionBudget",
    "rbac.authorization.k8s.io/v1 ClusterRole",
    "rbac.authorization.k8s.io/v1 ClusterRoleBinding",
    "rbac.authorization.k8s.io/v1 Role",
    "rbac.authorization.k8s.io/v1 RoleBinding",
)
"""Kinds of the objects of all stacks, except those of CRDs."""

REFERENCE = "#/definitions/"

Fields = Mapping[str, Mapping[str, str]]
"""Maps kinds and types to their fields, and each field to its type; empty for one without fields."""


def fields_of(published: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Return the fields of all kinds, and of the types below them.

    Args:
        published: `definitions` of an API server's `/openapi/v2`.
    """
    names = {kind: name for name, one in published.items() for kind in _kinds(one) if kind in KINDS}
    found = {kind: _fields(published[name], published) for kind, name in names.items()}
    pending = {type_ for one in found.values() for type_ in one.values()} - {""}
    while pending:
        name = pending.pop()
        found[name] = _fields(published[name], published)
        pending |= {*found[name].values()} - {"", *found}
    return {name: found[name] for name in sorted(found)}


def recorded(version: str) -> dict[str, dict[str, str]]:
    """Return the recorded fields of a version."""
    found: dict[str, dict[str, dict[str, str]]] = json.loads(RECORDED.read_text())
    return {**found["every version"], **found[version]}


def unknown(manifest: Mapping[str, Any], fields: Fields) -> list[str]:
    """Return the paths of an object that a version doesn't have."""
    kind = f"{manifest['apiVersion']} {manifest['kind']}"
    return [*_unknown(manifest, kind, fields, kind)] if kind in fields else [kind]


def as_record(by_version: Mapping[str, Fields]) -> str:
    """Return the file of the recorded fields: types that every version has in the same form are listed once."""
    first, *others = by_version.values()
    common = {name: one for name, one in first.items() if all(other.get(name) == one for other in others)}
    parts: dict[str, Fields] = {"every version": common}
    for version, fields in by_version.items():
        parts[version] = {name: one for name, one in fields.items() if name not in common}
    sections = []
    for title, part in parts.items():
        lines = [f"    {json.dumps(name)}: {json.dumps(one, sort_keys=True)}" for name, one in part.items()]
        sections.append(f"  {json.dumps(title)}: {{\n" + ",\n".join(lines) + "\n  }")
    return "{\n" + ",\n".join(sections) + "\n}\n"


def _kinds(definition: Mapping[str, Any]) -> Iterator[str]:
    for one in definition.get("x-kubernetes-group-version-kind", ()):
        yield f"{one['group']}/{one['version']} {one['kind']}".removeprefix("/")


def _fields(definition: Mapping[str, Any], published: Mapping[str, Any]) -> dict[str, str]:
    return {name: _type(one, published) for name, one in definition.get("properties", {}).items() if name != "status"}


def _type(field: Mapping[str, Any], published: Mapping[str, Any]) -> str:
    """Return the type of a field, or of the items of a list; empty if it has no fields."""
    name = str(field.get("items", field).get("$ref", "")).removeprefix(REFERENCE)
    return name if published.get(name, {}).get("properties") else ""


def _unknown(value: Any, type_: str, fields: Fields, path: str) -> Iterable[str]:
    if isinstance(value, list):
        for index, one in enumerate(value):
            yield from _unknown(one, type_, fields, f"{path}[{index}]")
    elif isinstance(value, Mapping) and type_:
        for key, one in value.items():
            if key in fields[type_]:
                yield from _unknown(one, fields[type_][key], fields, f"{path}.{key}")
            else:
                yield f"{path}.{key}"


def main() -> None:
    """Record the fields of all versions."""
    published = {version: cluster.api_server(version).kubectl("get", "--raw=/openapi/v2") for version in VERSIONS}
    by_version = {version: fields_of(json.loads(one)["definitions"]) for version, one in published.items()}
    RECORDED.write_text(as_record(by_version))


if __name__ == "__main__":
    main()
