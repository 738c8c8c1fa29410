"""JSON schemas for kubeconform, generated from an API server's published schemas, and runs of kubeconform with them.

Files have the names that kubeconform expects (`v1.34.4-standalone-strict/deployment-apps-v1.json`). Strict: an object
with known fields allows no others. As in the API server, an optional field allows `null` for "not set".
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from testbed.cluster.access import Cluster
from testbed.cluster.build import build_tool
from testbed.cluster.constants import CACHE

FOLDER = CACHE / "kubernetes-schemas"
"""Folder for `kubeconform -schema-location`, with one subfolder per version."""

Schema = dict[str, Any]

_REFERENCE = "#/definitions/"
_NUMBER_OR_TEXT = frozenset({"io.k8s.apimachinery.pkg.api.resource.Quantity"})
"""Types that are published as strings, although `cpu: 1` is as valid as `cpu: "1"`."""

_ASSERTIONS = ("type", "required", "enum", "default", "pattern", "minimum", "maximum")


def write(cluster: Cluster) -> Path:
    """Write a schema for every kind that the API server serves; return `FOLDER`."""
    published = json.loads(cluster.kubectl("get", "--raw=/openapi/v2"))["definitions"]
    folder = FOLDER / f"v{cluster.server_version}-standalone-strict"
    folder.mkdir(parents=True, exist_ok=True)
    for name, schema in standalone(published).items():
        (folder / name).write_text(json.dumps(schema, sort_keys=True))
    return FOLDER


def standalone(published: dict[str, Schema]) -> dict[str, Schema]:
    """Map file names to schemas, each with the definitions it needs."""
    strict = {name: _NUMBER if name in _NUMBER_OR_TEXT else _strict(one) for name, one in published.items()}
    files = {}
    for name, one in published.items():
        for identity in one.get("x-kubernetes-group-version-kind", []):
            group, version, kind = identity["group"], identity["version"], identity["kind"]
            if {"apiVersion", "kind"} <= one.get("properties", {}).keys():
                files[_file_name(group, version, kind)] = {
                    "$schema": "http://json-schema.org/draft-07/schema#",
                    **_of_kind(strict[name], f"{group}/{version}" if group else version, kind),
                    "definitions": {part: strict[part] for part in sorted(_reachable(strict, name))},
                }
    return files


def nonconforming(manifests: str, version: str) -> list[str]:
    """Return kubeconform's findings for these YAML documents, one line each; empty if all conform.

    A kind without a schema is a finding too. The version's schemas must exist.
    """
    command = [
        str(build_tool("kubeconform")),
        "-strict",
        f"-kubernetes-version={version}",
        f"-schema-location={FOLDER}",
        "-output=json",
    ]
    checked = subprocess.run(command, input=manifests, capture_output=True, text=True, check=False)
    if not checked.stdout:
        raise RuntimeError(f"kubeconform: {checked.stderr}")
    found = json.loads(checked.stdout)["resources"] or []
    return [f"{one['kind']} {one['name']}: {one['msg']}" for one in found]


_NUMBER: Schema = {"type": ["string", "number"]}


def _strict(schema: Schema) -> Schema:
    """Return a definition that refuses unknown fields wherever it lists the known ones."""
    if "$ref" in schema:
        return {"$ref": schema["$ref"]}
    if schema.get("format") == "int-or-string" or schema.get("x-kubernetes-int-or-string"):
        return {"type": ["string", "integer"]}
    result = {key: schema[key] for key in _ASSERTIONS if key in schema}
    if "enum" in result:
        # Some versions list a value twice, which kubeconform refuses in a schema.
        result["enum"] = [*dict.fromkeys(result["enum"])]
    if "items" in schema:
        result["items"] = _strict(schema["items"])
    if isinstance(schema.get("additionalProperties"), dict):
        result["additionalProperties"] = _strict(schema["additionalProperties"])
    if "properties" in schema:
        required = schema.get("required", ())
        result["properties"] = {
            name: _strict(one) if name in required else _or_null(_strict(one))
            for name, one in schema["properties"].items()
        }
        if not schema.get("x-kubernetes-preserve-unknown-fields") and "additionalProperties" not in result:
            result["additionalProperties"] = False
    return result


def _or_null(schema: Schema) -> Schema:
    if "type" in schema and "enum" not in schema:
        types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        return {**schema, "type": [*types, "null"]}
    return {"anyOf": [schema, {"type": "null"}]} if schema else schema


def _of_kind(schema: Schema, api_version: str, kind: str) -> Schema:
    named = {"apiVersion": {"enum": [api_version]}, "kind": {"enum": [kind]}}
    required = sorted({*schema.get("required", ()), *named})
    return {**schema, "properties": {**schema["properties"], **named}, "required": required}


def _reachable(definitions: dict[str, Schema], start: str) -> set[str]:
    found: set[str] = set()
    waiting = [start]
    while waiting:
        for name in _references(definitions[waiting.pop()]):
            if name not in found:
                found.add(name)
                waiting.append(name)
    return found


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        if isinstance(schema.get("$ref"), str):
            yield schema["$ref"].removeprefix(_REFERENCE)
        for one in schema.values():
            yield from _references(one)
    elif isinstance(schema, list):
        for one in schema:
            yield from _references(one)


def _file_name(group: str, version: str, kind: str) -> str:
    """Return the schema's file name: `networking.k8s.io/v1 Ingress` is in `ingress-networking-v1.json`."""
    first = group.partition(".")[0]
    return "-".join(part for part in (kind, first, version) if part).lower() + ".json"
