"""Storage of the claims: whether each gets a volume, and whether an existing one can grow."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from backends.kubernetes.claims import (
    MISSING_CLAIM_CLASS,
    NO_DEFAULT_CLASS_PROBLEM,
    SET_CLASS_INSTRUCTION,
    STORAGE_CLASS_KEY,
    terminating_claim_message,
)
from workloads import WorkloadError

Object = Mapping[str, Any]

DEFAULT_CLASS_ANNOTATION = "storageclass.kubernetes.io/is-default-class"
CLUSTER_LABEL = "cnpg.io/cluster"
"""Label of CloudNativePG's claims, whose numbers change."""

NODE_BOUND_PROVISIONERS = (
    "rancher.io/local-path",
    "kubernetes.io/no-provisioner",
    "microk8s.io/hostpath",
    "k8s.io/minikube-hostpath",
)


@dataclass(frozen=True)
class RequiredClaims:
    """Declared claims, by their names; those of an operator's cluster, by its name."""

    sizes_gib: Mapping[str, int]
    of_cluster: str | None = None


def check(
    required: Iterable[RequiredClaims],
    storage_class: str | None,
    storage: Iterable[Object],
    volumes: Callable[[], Iterable[Object] | None],
) -> Iterable[str]:
    """Return warnings about the storage of new claims.

    Args:
        required: the declared claims.
        storage_class: the class of the settings; None: the cluster's default class.
        storage: the cluster's storage classes, and the claims of the namespace.
        volumes: returns the cluster's volumes; None if they are unknown.

    Raises:
        WorkloadError: a new claim would stay pending, or an existing one is being deleted or can't grow.
    """
    by_kind: dict[str, dict[str, Object]] = defaultdict(dict)
    for one in storage:
        by_kind[one["kind"]][one["metadata"]["name"]] = one
    classes, existing = by_kind["StorageClass"], by_kind["PersistentVolumeClaim"]
    new: list[str] = []
    for wanted in required:
        found = _existing(wanted, existing)
        new += [] if found and wanted.of_cluster else [name for name in wanted.sizes_gib if name not in found]
        for name, claim in found.items():
            if claim.get("spec", {}).get("storageClassName") == MISSING_CLAIM_CLASS:
                continue  # A StatefulSet created this claim in place of a missing one, which the update reports.
            if "deletionTimestamp" in claim["metadata"] and wanted.of_cluster is None:
                raise WorkloadError(terminating_claim_message(claim))
            size_gib = max(wanted.sizes_gib.values()) if wanted.of_cluster else wanted.sizes_gib[name]
            _refuse_growth(name, claim, size_gib, classes)
    if not new:
        return []
    chosen = _chosen_class(new, storage_class, classes, volumes)
    return [] if chosen is None else _warnings(new, chosen)


def _existing(required: RequiredClaims, claims: Mapping[str, Object]) -> dict[str, Object]:
    if required.of_cluster is None:
        return {name: claims[name] for name in required.sizes_gib if name in claims}
    return {
        name: claim
        for name, claim in claims.items()
        if claim["metadata"].get("labels", {}).get(CLUSTER_LABEL) == required.of_cluster
    }


def _refuse_growth(name: str, claim: Object, wanted_gib: int, classes: Mapping[str, Object]) -> None:
    spec = claim.get("spec", {})
    requested = re.fullmatch(r"(\d+)Gi", spec.get("resources", {}).get("requests", {}).get("storage", ""))
    class_name = spec.get("storageClassName", "")
    if requested is None or int(requested[1]) >= wanted_gib or _can_grow(classes.get(class_name, {})):
        return
    allow = f"""kubectl patch storageclass {class_name} --patch '{{"allowVolumeExpansion": true}}'"""
    raise WorkloadError(
        f"The claim {name} can't grow from {requested[1]} to {wanted_gib} GiB: its storage class '{class_name}' "
        f"doesn't allow it. Restore the old size, or, if the class's driver can expand volumes: {allow}. See "
        "docs/stores.md, section 'Growing a volume'."
    )


def _chosen_class(
    new: Iterable[str],
    name: str | None,
    classes: Mapping[str, Object],
    volumes: Callable[[], Iterable[Object] | None],
) -> Object | None:
    """Return the storage class of new claims; None if there are prepared volumes whose class has no object."""
    pending = f"The claims {', '.join(new)} would stay pending."
    if name is None:
        default = [one for one in classes.values() if _annotations(one).get(DEFAULT_CLASS_ANNOTATION) == "true"]
        if not default:
            raise WorkloadError(
                f"{NO_DEFAULT_CLASS_PROBLEM} {pending} Mark one as the default. {SET_CLASS_INSTRUCTION}"
            )
        return default[0]
    if name not in classes:
        prepared = volumes()
        if prepared is not None and not any(one["spec"].get("storageClassName") == name for one in prepared):
            raise WorkloadError(f"{STORAGE_CLASS_KEY}: the cluster has no storage class '{name}'. {pending}")
        return None
    return classes[name]


def _warnings(new: Iterable[str], storage_class: Object) -> Iterable[str]:
    subject = f"The storage class '{storage_class['metadata']['name']}' of the new claims {', '.join(new)}"
    keep = f"A claim keeps its class. {SET_CLASS_INSTRUCTION}"
    if not _can_grow(storage_class):
        yield f"{subject} doesn't allow them to grow (allowVolumeExpansion). {keep}"
    if storage_class.get("provisioner") in NODE_BOUND_PROVISIONERS:
        yield (
            f"{subject} keeps each volume on one node: its pod runs on no other, and its data is lost with the node. "
            f"{keep}"
        )


def _can_grow(storage_class: Object) -> bool:
    return storage_class.get("allowVolumeExpansion") is True


def _annotations(one: Object) -> Mapping[str, str]:
    return one["metadata"].get("annotations") or {}
