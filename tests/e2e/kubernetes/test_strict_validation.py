"""Every object of prod, validated by real API servers: no field is unknown, misspelt, deprecated or refused.

A server-side dry run decodes strictly, applies defaults, validates and runs admission; it stores nothing. The versions
are the oldest supported, the node's and the newest that is built here.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from operations.render.manifests import manifests
from operations.render.placeholders import Placeholders
from testbed import cluster
from testbed.cluster import fields, schemas
from testbed.cluster.constants import VERSION, kubernetes_directory
from tests.e2e.kubernetes import extensions
from tests.e2e.kubernetes.manifests import EXTENSION_KINDS, VARIANTS, as_text, objects_of
from tests.e2e.kubernetes.stack import NAMESPACE
from tests.unit.kubernetes_recording import record_workloads, scheduled
from workloads import WorkloadError

VERSIONS = sorted({VERSION, *cluster.API_SERVER_VERSIONS})


@pytest.fixture(scope="module", params=VERSIONS)
def server(request: pytest.FixtureRequest, left_as_found: None) -> cluster.Cluster:
    """An API server of each version, with the platform's namespace."""
    if reason := cluster.why_unavailable():
        pytest.skip(reason)
    if not (kubernetes_directory(request.param) / "kube-apiserver").exists():
        pytest.skip(f"Kubernetes {request.param} isn't built: python -m testbed.cluster build --api-servers")
    found = cluster.api_server(request.param)
    if not found.kubectl("get", "namespace", NAMESPACE, "--ignore-not-found"):
        (namespace,) = (one for one in objects_of("prod", request.param) if one["kind"] == "Namespace")
        found.kubectl("apply", "--server-side", "--filename=-", input=as_text([namespace]))
    return found


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_api_server_accepts_every_object_without_warnings(server: cluster.Cluster, variant: str) -> None:
    objects = [one for one in objects_of(variant, server.server_version) if one["kind"] not in EXTENSION_KINDS]
    # Warnings are deprecations, and violations of the newest restricted standard.
    assert dry_run(server, objects) == (0, "")


def test_the_fields_recorded_for_the_unit_tests_are_those_of_the_api_server(server: cluster.Cluster) -> None:
    published = json.loads(server.kubectl("get", "--raw=/openapi/v2"))["definitions"]
    assert fields.fields_of(published) == fields.recorded(server.server_version)


def test_the_api_server_accepts_a_scheduled_task(server: cluster.Cluster) -> None:
    objects = scheduled_task("*/5 0-6 1,15 1-12/2 1-5")
    schemas.write(server)
    assert schemas.nonconforming(as_text(objects), server.server_version) == []
    assert dry_run(server, objects) == (0, "")


@pytest.mark.parametrize("schedule", ["60 3 * * *", "0 3 0 * *", "*/0 3 * * *", "0 6-3 * * *"])
def test_the_api_server_refuses_the_schedules_that_the_model_refuses(server: cluster.Cluster, schedule: str) -> None:
    with pytest.raises(WorkloadError):
        scheduled(schedule=schedule)
    objects = scheduled_task("0 3 * * *")
    (cron_job,) = (one for one in objects if one["kind"] == "CronJob")
    code, output = dry_run(server, [{**cron_job, "spec": {**cron_job["spec"], "schedule": schedule}}])
    assert code != 0
    assert "spec.schedule" in output


def test_the_api_server_refuses_unknown_fields(server: cluster.Cluster) -> None:
    (broken,) = (
        one
        for one in objects_of("prod", server.server_version)
        if one["kind"] == "StatefulSet" and "redis" in str(one["metadata"])
    )
    pod = {**broken["spec"]["template"]["spec"], "automountServiceAccountTokn": False}
    spec = {**broken["spec"], "template": {**broken["spec"]["template"], "spec": pod}}
    code, output = dry_run(server, [{**broken, "spec": spec}])
    assert code != 0
    assert "automountServiceAccountTokn" in output


@pytest.mark.parametrize("variant", VARIANTS)
def test_kubeconform_accepts_every_object_by_the_schemas_of_the_server(server: cluster.Cluster, variant: str) -> None:
    schemas.write(server)
    objects = [one for one in objects_of(variant, server.server_version) if one["kind"] not in EXTENSION_KINDS]
    assert schemas.nonconforming(as_text(objects), server.server_version) == []


@pytest.mark.parametrize("kind", sorted(EXTENSION_KINDS))
def test_the_operators_crds_accept_every_custom_resource(server: cluster.Cluster, tmp_path: Path, kind: str) -> None:
    if server.server_version != VERSION:
        pytest.skip(f"the operators' own versions belong to Kubernetes {VERSION}")
    extensions.install(server, kind, tmp_path)
    every = {
        str(one["metadata"]["name"]): one
        for variant in VARIANTS
        for one in objects_of(variant, server.server_version)
        if one["kind"] == kind
    }
    assert every
    assert dry_run(server, list(every.values())) == (0, "")
    # Verify that the server validates the fields instead of ignoring them.
    (first, *_) = every.values()
    code, output = dry_run(server, [{**first, "spec": {**first["spec"], "unknownToTheOperator": True}}])
    assert code != 0
    assert "unknownToTheOperator" in output


def scheduled_task(schedule: str) -> list[Mapping[str, Any]]:
    """Return the objects of a scheduled task, as rendered."""
    registered = record_workloads(scheduled(schedule=schedule), namespace=NAMESPACE).registrations
    return [one.manifest for one in manifests(registered, Placeholders({}))]


def dry_run(server: cluster.Cluster, objects: list[Mapping[str, Any]]) -> tuple[int, str]:
    """Return the exit code, and kubectl's output without the names of the applied objects."""
    command = [*server.command(), "apply", "--server-side", "--dry-run=server", "--validate=strict", "--filename=-"]
    done = subprocess.run(command, input=as_text(objects), capture_output=True, text=True)
    return done.returncode, done.stderr
