"""The prod stack's objects on a cluster, created in one run by three tools: this project, a bare Pulumi program, and
kubectl.

    python -m benchmarks.cluster [--repetitions 3] [--namespace pti-benchmark]

The bare program and `kubectl apply --server-side` create the objects that `make render` writes, with all secrets filled
in. The bare program runs a second time with as many resources as ours, because the engine writes the whole state before
and after each resource. None of them starts a pod or waits for one (`without_pods.py`), so the benchmark measures
Pulumi and the control plane only. They take turns, each in a new namespace. Our program also generates passwords and a
certificate, which the baselines get as input."""

from __future__ import annotations

import argparse
import json
import secrets
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.report import cpu_s, machine, show, show_ratio, timed
from benchmarks.without_pods import without_pods
from operations.project import ROOT
from operations.render.manifests import manifests
from operations.render.placeholders import Placeholders
from operations.render.resources import recorded_resources
from settings import parse
from testbed import cluster
from testbed.cluster import Cluster
from tests.e2e.kubernetes.configuration import THIRD_PARTY, merged, prod
from tests.engine.pulumi_stack import Outcome, PulumiStack
from tests.unit.platform_recording import pulumi_config

PROGRAMS = ROOT / "benchmarks" / "programs"
DISABLED = {"pulumi:disable-default-providers": ["docker", "kubernetes"]}
UNBOUND = {
    "apiVersion": "storage.k8s.io/v1",
    "kind": "StorageClass",
    "provisioner": "kubernetes.io/no-provisioner",
    "volumeBindingMode": "WaitForFirstConsumer",
}
"""A storage class without volumes: claims of pods that never start stay unbound."""

Figures = dict[str, list[float]]


def main() -> int:
    """Print the times and ratios. Exit code 1 if no cluster can be started."""
    parser = argparse.ArgumentParser(
        description="Times the creation of the prod stack's objects on a cluster, with two baselines."
    )
    parser.add_argument("--repetitions", type=int, default=3, help="of each (default: %(default)s)")
    parser.add_argument("--namespace", default="pti-benchmark", help="created and deleted (default: %(default)s)")
    wanted = parser.parse_args()
    if reason := cluster.why_unavailable():
        print(reason, file=sys.stderr)
        return 1
    place = cluster.up()
    taken = place.kubectl("get", "namespace", wanted.namespace, "--ignore-not-found", "--output=name")
    if taken.strip():
        print(f"{taken.strip()} already exists: delete it, or choose another with --namespace", file=sys.stderr)
        return 1
    own_place = {"namespace": wanted.namespace, "storageClass": wanted.namespace}
    configuration = merged(prod(place), {"kubernetes": own_place})
    objects, resources = rendered(configuration)
    ours: Figures = {}
    bare: Figures = {}
    padded: Figures = {}
    applied: Figures = {}
    with tempfile.TemporaryDirectory() as folder, storage_class(wanted.namespace, place):
        file = Path(folder, "objects.json")
        file.write_text(json.dumps(objects))
        for number in range(wanted.repetitions):
            here = Path(folder, str(number))
            own = PulumiStack(here / "ours", PROGRAMS / "without_pods", DISABLED | configuration)
            own.set_secrets(THIRD_PARTY)
            by_pulumi(own, place, wanted.namespace, ours)
            reach = {"kubeconfig": str(place.kubeconfig), "context": place.context, "manifests": str(file)}
            for name, others, figures in (("bare", 0, bare), ("padded", resources - len(objects), padded)):
                program = DISABLED | reach | {"others": str(others)}
                by_pulumi(PulumiStack(here / name, PROGRAMS / "manifests", program), place, wanted.namespace, figures)
            by_kubectl(objects, place, wanted.namespace, applied)
    print(machine())
    print(f"{len(objects)} objects in the cluster; {resources} resources of ours")
    for what in ours:
        show(f"{what}: ours", ours[what])
        show(f"{what}: a bare program", bare[what])
        show_ratio(ours[what], bare[what])
        show(f"{what}: as many resources", padded[what])
        show_ratio(ours[what], padded[what])
    show("kubectl apply --server-side", applied["up"])
    show_ratio(ours["up"], applied["up"])
    return 0


@contextmanager
def storage_class(name: str, place: Cluster) -> Iterator[None]:
    """Create the storage class of the claims, and delete it afterwards."""
    place.kubectl("apply", "--filename=-", input=json.dumps(UNBOUND | {"metadata": {"name": name}}))
    try:
        yield
    finally:
        place.kubectl("delete", "storageclass", name)


def rendered(configuration: dict[str, Any]) -> tuple[list[dict[str, Any]], int]:
    """Return the stack's objects in the order of application, with all secrets filled in and without pods; and the
    number of the program's resources, which also include components, passwords and records."""
    settings = parse(pulumi_config(configuration), with_secrets=False)
    placeholders = Placeholders.of(settings, THIRD_PARTY)
    values = {credential: secrets.token_hex(16) for credential in placeholders.by_credential}
    with_tokens, with_secrets = (recorded_resources(settings, placeholders, "prod", one) for one in (None, values))
    objects = [without_pods(one.manifest) for one in manifests(with_tokens, placeholders, with_secrets)]
    return objects, len(with_tokens)


def by_pulumi(stack: PulumiStack, place: Cluster, namespace: str, figures: Figures) -> None:
    """Time a preview of everything, the update, and a preview without changes."""
    steps: dict[str, Callable[[], Outcome]] = {
        "preview of all": stack.preview,
        "up": stack.up,
        "preview, no changes": partial(stack.preview, "--expect-no-changes"),
    }
    try:
        for name, step in steps.items():
            used = cpu_s()
            figures.setdefault(name, []).append(timed(partial(_successful, step)))
            figures.setdefault(f"{name}, CPU", []).append(cpu_s() - used)
    finally:
        _delete(namespace, place)


def by_kubectl(objects: Sequence[dict[str, Any]], place: Cluster, namespace: str, figures: Figures) -> None:
    """Time the creation of the same objects by kubectl."""
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    apply = ("apply", "--server-side", "--filename=-")
    try:
        figures.setdefault("up", []).append(timed(lambda: place.kubectl(*apply, input=text)))
    finally:
        _delete(namespace, place)


def _successful(step: Callable[[], Outcome]) -> None:
    step().succeeded()


def _delete(namespace: str, place: Cluster) -> None:
    """Delete the namespace, and the roles of the cluster that carry its name."""
    place.kubectl("delete", "namespace", namespace, "--ignore-not-found", "--wait=true", "--timeout=300s")
    roles = place.kubectl("get", "clusterroles,clusterrolebindings", "--output=name").split()
    if own := [role for role in roles if role.partition("/")[2].startswith(f"{namespace}-")]:
        place.kubectl("delete", *own)


if __name__ == "__main__":
    sys.exit(main())
