"""Every key that the backend writes exists in Kubernetes' schema, as included in the provider's SDK.

The API server drops a misspelt key with only a warning, which Pulumi doesn't show, so a hardening setting would be
lost.
"""

from __future__ import annotations

import copy
import importlib
from collections.abc import Iterator
from typing import Any, get_args, get_origin

import pulumi
import pytest

# The SDK has no public API to read its schema.
from pulumi import _types

from backends.base import DeployOptions
from backends.kubernetes.backend import KubernetesBackend
from recording.recorder import Registration
from tests.unit.kubernetes_recording import port, record_program, scheduled, stateful, task, workload
from workloads import (
    INTERNET,
    Autoscaling,
    EdgeEntry,
    Endpoint,
    Exec,
    Exposure,
    ExternalEndpoint,
    FileSet,
    HttpGet,
    Liveness,
    LoadBalancer,
    Metrics,
    Probe,
    Route,
    Scratch,
    SharedVolume,
    TcpConnect,
    TlsKeyPair,
    Volume,
    Workload,
)

FILES = (
    FileSet(name="files", directory="/files", files={"a": "b"}),
    FileSet(name="keys", directory="/keys", files={"a": "b"}, secret=True),
    FileSet(name="tls", directory="/tls", external_secret="tls"),
)
ALL_FEATURES: dict[str, Any] = {
    "arguments": ("--fast",),
    "environment": {"A": "B"},
    "file_sets": FILES,
    "scratch": (Scratch(path="/scratch"),),
}


def all_workloads() -> Iterator[Workload]:
    """Return workloads that use every field of the model."""
    readiness = Probe(check=TcpConnect(port=8080))
    yield stateful(
        "store",
        replicas=3,
        ports=(port(),),
        peer_ports=(8080,),
        volumes=(Volume(name="data", mount="/data"),),
        readiness=Probe(check=Exec(command=("ready",))),
        **ALL_FEATURES,
    )
    yield scheduled(depends_on=("store",), connects_to=(Endpoint("store", 8080),), **ALL_FEATURES)
    yield task(depends_on=("store",), connects_to=(Endpoint("store", 8080),), **ALL_FEATURES)
    yield stateful("archive", volumes=(Volume(name="archive", mount="/archive"),), **ALL_FEATURES)
    yield task(
        "copy", shared_volumes=(SharedVolume(owner="archive", name="archive", mount="/archive"),), **ALL_FEATURES
    )
    yield workload(
        "web",
        autoscaling=Autoscaling(minimum=2, maximum=4, cpu_percent=70),
        ports=(port(publish=80, public=True),),
        load_balancer=LoadBalancer(
            annotations={"cloud": "x"},
            controller="cloud/nlb",
            keeps_client_address=False,
            source_ranges=("192.0.2.0/24",),
        ),
        metrics=(Metrics(port=8080, job="service"),),
        readiness=readiness,
        liveness=Liveness(check=HttpGet(port=8080, path="/live")),
        connects_to=(INTERNET, ExternalEndpoint("mail.example.com", 587, cidrs=("198.51.100.0/24",))),
        **ALL_FEATURES,
    )


def program(backend: KubernetesBackend, parent: pulumi.Resource) -> None:
    """Deploy and expose all of them."""
    for one in all_workloads():
        backend.deploy(one, DeployOptions(parent=parent))
    route = Route("www.example.com", Endpoint("web", 8080))
    exposure = Exposure(
        name="edge",
        routes=(route,),
        through=EdgeEntry(tls=TlsKeyPair("CERTIFICATE", "KEY"), controller="nginx"),
        edge_location="ingress",
    )
    backend.expose(exposure, DeployOptions(parent=parent))


# Registrations come in another order in each process, and each worker must collect the same tests.
OBJECTS = [
    one
    for one in sorted(
        record_program(program, storage_class="fast", image_pull_secrets=("registry",)).registrations, key=str
    )
    if one.type.startswith("kubernetes:")
]


def schema(type_: str) -> Any:
    """Return the SDK class with a kind's fields: `kubernetes:apps/v1:Deployment` has them in
    `apps.v1.DeploymentInitArgs`."""
    _, group, kind = type_.split(":")
    name, _, version = group.partition("/")
    module = importlib.import_module(f"pulumi_kubernetes.{name.removesuffix('.k8s.io')}.{version}")
    return getattr(module, f"{kind}InitArgs")


def unknown_keys(value: Any, known: Any, path: str) -> Iterator[str]:
    """Return the paths in a value that aren't in its schema."""
    if isinstance(value, list) and get_origin(known) is not None:
        # The type of an item is a union with outputs; the item's own type comes first.
        (of_each,) = get_args(known)
        of_each = get_args(of_each)[0] if get_args(of_each) else of_each
        for index, one in enumerate(value):
            yield from unknown_keys(one, of_each, f"{path}[{index}]")
    elif isinstance(value, dict) and hasattr(known, "_pulumi_input_type"):
        types = _types.input_type_types(known)
        for key, one in value.items():
            if key in types:
                yield from unknown_keys(one, types[key], f"{path}.{key}")
            else:
                yield f"{path}.{key}"


@pytest.mark.parametrize("one", OBJECTS, ids=str)
def test_every_key_is_in_the_api_schema(one: Registration) -> None:
    assert list(unknown_keys(one.inputs, schema(one.type), "")) == []


def test_a_misspelt_key_would_be_found() -> None:
    (web,) = [one for one in OBJECTS if one.type == "kubernetes:apps/v1:Deployment"]
    inputs = copy.deepcopy(dict(web.inputs))
    inputs["spec"]["template"]["spec"]["containers"][0]["securityContext"]["readOnlyRoot"] = True
    found = list(unknown_keys(inputs, schema(web.type), ""))
    assert found == [".spec.template.spec.containers[0].securityContext.readOnlyRoot"]


def test_every_kind_of_object_is_checked() -> None:
    assert {one.type.rpartition(":")[2] for one in OBJECTS} == {
        *("Namespace", "ServiceAccount", "NetworkPolicy", "Service", "PersistentVolumeClaim", "ConfigMap", "Secret"),
        *("Deployment", "StatefulSet", "Job", "CronJob", "HorizontalPodAutoscaler", "PodDisruptionBudget", "Ingress"),
    }
