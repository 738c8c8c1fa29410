"""Kubernetes resources as manifests for `kubectl apply`, in the folders in which they are applied."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from backends.kubernetes.labels import NAME_LABEL
from operations.project import ROOT
from operations.render import text
from operations.render.environment import read_secrets
from operations.render.placeholders import ENVIRONMENT_FILE, EXAMPLE_FILE, Placeholders
from operations.render.resources import provisional_name, recorded_resources
from recording.recorder import STACK, Registration
from settings import Settings
from settings.backend import KubernetesSettings

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


def write(settings: Settings, placeholders: Placeholders, stack: str, directory: Path) -> None:
    """Write the manifests and an example of their environment file, which supplies the secrets if it exists."""
    environment = directory / ENVIRONMENT_FILE
    with_tokens = recorded_resources(settings, placeholders, stack)
    needed = placeholders.used_in("".join(_secret_texts(manifests(with_tokens, Placeholders({})))))
    with_secrets = None
    if environment.exists():
        values = read_secrets(environment, needed)
        with_secrets = recorded_resources(settings, placeholders, stack, values)
    objects = manifests(with_tokens, needed, with_secrets)
    write_objects(objects, directory, stack)
    (directory / EXAMPLE_FILE).write_text(
        needed.example(
            "The secrets of the rendered stack. Copy this file to .env in this folder, fill it in and render again.",
            "A value with characters other than letters, digits and -._ must be in single quotes.",
            *needed.certificate_instructions(settings.gateway.domain),
        )
    )
    _print_next_steps(
        directory.relative_to(ROOT), settings.kubernetes, objects, has_secrets=with_secrets is not None, stack=stack
    )


def _secret_texts(objects: Iterable[RenderedObject]) -> list[str]:
    return [value for one in objects for value in one.manifest.get("stringData", {}).values()]


def write_objects(objects: Iterable[RenderedObject], directory: Path, stack: str) -> None:
    """Rewrite each folder, with one file per workload; only the owner can read those with Secrets."""
    for folder in FOLDERS:
        shutil.rmtree(directory / folder, ignore_errors=True)
        (directory / folder).mkdir(mode=0o700 if folder == "secrets" else 0o777, parents=True)
    for (folder, workload), ones in groupby(objects, key=lambda one: (one.folder, one.workload)):
        content = text.header(stack) + text.documents(one.manifest for one in ones)
        mode = 0o600 if folder == "secrets" else 0o666
        descriptor = os.open(directory / folder / f"{workload}.yaml", os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "w") as file:
            file.write(content)


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


def _print_next_steps(
    shown: Path, cluster: KubernetesSettings, objects: list[RenderedObject], *, has_secrets: bool, stack: str
) -> None:
    """Print the next steps, for the cluster of the configuration."""
    kubectl = f"kubectl --kubeconfig {cluster.kubeconfig} --context {cluster.context}"
    jobs = [one.manifest["metadata"]["name"] for one in objects if one.manifest["kind"] == "Job"]
    named = " ".join(f"job/{name}" for name in jobs)
    print(f"{shown}/ contains {len(objects)} objects in {', '.join(FOLDERS)}.")
    if has_secrets:
        print(f"The secrets come from {shown}/{ENVIRONMENT_FILE}: keep {shown}/secrets private.")
    else:
        print(
            f"The secrets are placeholders (REPLACE_WITH_…), so don't apply them. Fill them in: "
            f"cp {shown}/{EXAMPLE_FILE} {shown}/{ENVIRONMENT_FILE}, edit it, and make render STACK={stack} again."
        )
    print("Apply it, in this order:")
    print(f"  {kubectl} apply --server-side {' '.join(f'-f {shown}/{folder}' for folder in FOLDERS)}")
    print(
        "Pods restart until their stores are ready, and a Job is retried a few times. If a Job has failed by then, "
        "delete it and apply it again:"
    )
    print(f"  {kubectl} -n {cluster.namespace} get {named}")
    print(
        "After later changes: a changed file or task is a new ConfigMap or Job; delete the old one. After a changed "
        "secret, run kubectl rollout restart for the workloads that use it."
    )
