"""Kubernetes resources as manifests for `kubectl apply`, in the folders in which they are applied."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from backends.kubernetes.labels import NAME_LABEL
from operations.render.placeholders import Placeholders
from operations.render.resources import provisional_name
from recording.recorder import STACK, Registration

FOLDERS = ("namespace", "secrets", "infrastructure", "services", "ingress")
"""Folders in the order of application."""

FOLDER_BY_COMPONENT = {"Microservice": "services", "Frontend": "services", "Gateway": "ingress"}
"""Maps components to the folders of their objects; others go to `infrastructure`, which is applied first."""

KIND_ORDER = (
    *("Namespace", "ServiceAccount", "ConfigMap", "Secret", "PersistentVolumeClaim", "NetworkPolicy", "Service"),
    *("Certificate", "Cluster", "StatefulSet", "Deployment", "Job", "CronJob"),
)
"""Order of kinds within a file, in which kubectl applies them; other kinds follow."""

ANNOTATION_PREFIX = "pulumi.com/"


@dataclass(frozen=True)
class RenderedObject:
    """One object, and its file."""

    folder: str
    workload: str
    """Name of the file."""

    manifest: Mapping[str, Any]


def manifests(
    with_tokens: Iterable[Registration], placeholders: Placeholders, with_secrets: Iterable[Registration] | None = None
) -> list[RenderedObject]:
    """Return the objects of a stack, in the order of their files.

    The name of an object without one is its resource's name with a hash of its contents, as in kustomize. For a Secret,
    the hash is over the placeholders, so that no name reveals a secret value.

    Args:
        with_tokens: the stack's resources with tokens as their secrets, in the order of their registration.
        placeholders: the credentials that the tokens represent.
        with_secrets: the same with the secrets' values; without them, the Secrets hold placeholders in `stringData`.
    """
    with_tokens = list(with_tokens)
    final = _final_names(with_tokens)
    written = with_tokens if with_secrets is None else list(with_secrets)
    renamed = {provisional_name(one.inputs): final[str(one)] for one in written if str(one) in final}
    parents = {str(one): one.parent for one in written}
    objects = []
    for one in written:
        if not one.type.startswith("kubernetes:"):
            continue
        manifest = _for_kubectl(_replace_texts(one.inputs, renamed), final.get(str(one)))
        for path in one.ignore_changes:
            manifest = _without(manifest, path.split("."))
        if manifest["kind"] == "Secret":
            manifest = _without_immutable(manifest)
            manifest = _with_plain_values(manifest, placeholders) if with_secrets is None else manifest
        folder = "secrets" if manifest["kind"] == "Secret" else _folder(one.parent, parents)
        # A namespace and its policies share one file: in alphabetical order, the policies would be applied first.
        owner = manifest["metadata"].get("namespace", manifest["metadata"]["name"])
        if folder != "namespace":
            owner = manifest["metadata"]["labels"].get(NAME_LABEL, one.name)
        objects.append(RenderedObject(folder, owner, manifest))
    return sorted(objects, key=_sort_key)


def _final_names(with_tokens: Iterable[Registration]) -> dict[str, str]:
    """Return the names of objects without a fixed name, by resource."""
    final: dict[str, str] = {}
    renamed: dict[str, str] = {}
    for one in with_tokens:
        if one.type.startswith("kubernetes:") and "name" not in one.inputs["metadata"]:
            # The objects that this one refers to were registered before it, so their final names are known.
            content = json.dumps(_replace_texts(one.inputs, renamed), sort_keys=True)
            final[str(one)] = f"{one.name}-{hashlib.sha256(content.encode()).hexdigest()[:8]}"
            renamed[provisional_name(one.inputs)] = final[str(one)]
    return final


def _replace_texts(value: Any, texts: Mapping[str, str]) -> Any:
    """Return a value in which whole texts are replaced."""
    if isinstance(value, Mapping):
        return {key: _replace_texts(one, texts) for key, one in value.items()}
    if isinstance(value, list):
        return [_replace_texts(one, texts) for one in value]
    return texts.get(value, value) if isinstance(value, str) else value


def _without(manifest: Mapping[str, Any], path: Sequence[str]) -> dict[str, Any]:
    """Return the manifest without a field that another manager sets, which each `kubectl apply` would reset."""
    first, *rest = path
    if rest:
        return {**manifest, first: _without(manifest[first], rest)}
    return {key: value for key, value in manifest.items() if key != first}


def _for_kubectl(manifest: Mapping[str, Any], name: str | None) -> dict[str, Any]:
    """Return the manifest with its name and without annotations for Pulumi's provider."""
    metadata = dict(manifest["metadata"]) | ({"name": name} if name else {})
    annotations = {
        key: value for key, value in metadata.pop("annotations", {}).items() if not key.startswith(ANNOTATION_PREFIX)
    }
    metadata |= {"annotations": annotations} if annotations else {}
    order = ("apiVersion", "kind", "metadata")
    rest = {key: value for key, value in manifest.items() if key not in order}
    placed = {key: metadata[key] for key in ("name", "namespace", "labels", "annotations") if key in metadata}
    return {"apiVersion": manifest["apiVersion"], "kind": manifest["kind"], "metadata": placed, **rest}


def _without_immutable(secret: Mapping[str, Any]) -> dict[str, Any]:
    """Return a mutable Secret, whose name doesn't depend on its value."""
    return {key: value for key, value in secret.items() if key != "immutable"}


def _with_plain_values(secret: Mapping[str, Any], placeholders: Placeholders) -> dict[str, Any]:
    """Return a Secret with plain-text values, in which placeholders replace secrets."""
    rest = {key: value for key, value in secret.items() if key != "data"}
    values = {key: base64.b64decode(value).decode() for key, value in secret["data"].items()}
    return {**rest, "stringData": {key: placeholders.to_manifest(value) for key, value in values.items()}}


def _folder(parent: str, parents: Mapping[str, str]) -> str:
    """Return the folder of the nearest component that has one."""
    if parent.partition(" ")[0] == STACK:
        return "namespace"
    while parent:
        component = parent.partition(" ")[0].rpartition(":")[2]
        if component in FOLDER_BY_COMPONENT:
            return FOLDER_BY_COMPONENT[component]
        parent = parents.get(parent, "")
    return "infrastructure"


def _sort_key(one: RenderedObject) -> tuple[int, str, int, str, str]:
    kind = one.manifest["kind"]
    order = KIND_ORDER.index(kind) if kind in KIND_ORDER else len(KIND_ORDER)
    return FOLDERS.index(one.folder), one.workload, order, kind, one.manifest["metadata"]["name"]
