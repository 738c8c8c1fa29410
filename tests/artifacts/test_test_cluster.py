"""Parts of the test cluster that work without running it: the schema for a manifest, the name of an image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from testbed.cluster import ClusterError, containers, processes, schemas
from testbed.cluster.build import TOOLS
from testbed.cluster.constants import API_SERVER_VERSIONS, GO_MODULES, VERSION
from testbed.cluster.modules import NODE_PROGRAMS

OPENAPI_DEFINITIONS: dict[str, Any] = {
    "api.apps.Deployment": {
        "type": "object",
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "spec": {"$ref": "#/definitions/api.apps.Spec"},
        },
        "x-kubernetes-group-version-kind": [{"group": "apps.k8s.io", "version": "v1", "kind": "Deployment"}],
    },
    "api.apps.Spec": {
        "type": "object",
        "required": ["replicas"],
        "properties": {
            "replicas": {"type": "integer", "format": "int32"},
            "surge": {"type": "string", "format": "int-or-string"},
            "labels": {"type": "object", "additionalProperties": {"type": "string"}},
            "inner": {"$ref": "#/definitions/api.apps.Spec"},
        },
    },
    "api.apps.Unrelated": {"type": "object", "properties": {"name": {"type": "string"}}},
}


@pytest.fixture
def deployment() -> dict[str, Any]:
    """Return the schema file of the kind above."""
    return schemas.standalone(OPENAPI_DEFINITIONS)["deployment-apps-v1.json"]


def test_only_kinds_get_a_schema_file() -> None:
    assert schemas.standalone(OPENAPI_DEFINITIONS).keys() == {"deployment-apps-v1.json"}


def test_a_kind_without_a_group_is_named_by_its_version() -> None:
    kind = {"group": "", "version": "v1", "kind": "ConfigMap"}
    published = {"ConfigMap": {**OPENAPI_DEFINITIONS["api.apps.Deployment"], "x-kubernetes-group-version-kind": [kind]}}
    assert schemas.standalone({**OPENAPI_DEFINITIONS, **published}).keys() >= {"configmap-v1.json"}


def test_a_schema_file_has_only_the_definitions_that_it_uses(deployment: dict[str, Any]) -> None:
    assert deployment["definitions"].keys() == {"api.apps.Spec"}


def test_known_fields_exclude_unknown_ones_but_maps_stay_open(deployment: dict[str, Any]) -> None:
    spec = deployment["definitions"]["api.apps.Spec"]
    assert deployment["additionalProperties"] is False
    assert spec["additionalProperties"] is False
    assert spec["properties"]["labels"] == {"type": ["object", "null"], "additionalProperties": {"type": "string"}}


def test_the_schema_of_a_kind_requires_its_name_and_version(deployment: dict[str, Any]) -> None:
    assert deployment["required"] == ["apiVersion", "kind"]
    assert deployment["properties"]["apiVersion"] == {"enum": ["apps.k8s.io/v1"]}


def test_a_duplicate_value_is_listed_once() -> None:
    spec = {"type": "object", "properties": {"policy": {"type": "string", "enum": ["Local", "Cluster", "Local"]}}}
    files = schemas.standalone({**OPENAPI_DEFINITIONS, "api.apps.Spec": spec})
    policy = files["deployment-apps-v1.json"]["definitions"]["api.apps.Spec"]["properties"]["policy"]
    assert policy["anyOf"][0]["enum"] == ["Local", "Cluster"]


def test_only_a_required_field_refuses_null(deployment: dict[str, Any]) -> None:
    fields = deployment["definitions"]["api.apps.Spec"]["properties"]
    assert fields["replicas"] == {"type": "integer"}
    assert fields["surge"] == {"type": ["string", "integer", "null"]}
    assert fields["inner"] == {"anyOf": [{"$ref": "#/definitions/api.apps.Spec"}, {"type": "null"}]}


@pytest.mark.parametrize(
    ("image", "full"),
    [
        ("redis:8.10.1", "docker.io/library/redis:8.10.1"),
        ("redis", "docker.io/library/redis:latest"),
        ("prom/prometheus:v3.14.0", "docker.io/prom/prometheus:v3.14.0"),
        ("ghcr.io/kafbat/kafka-ui:v1.5.0", "ghcr.io/kafbat/kafka-ui:v1.5.0"),
        ("localhost/pause:1", "localhost/pause:1"),
        ("registry:5000/one", "registry:5000/one:latest"),
    ],
)
def test_containerd_knows_an_image_by_its_full_name(image: str, full: str) -> None:
    assert containers.full_name(image) == full


@pytest.mark.parametrize("module", [VERSION, *API_SERVER_VERSIONS, *TOOLS])
def test_every_built_program_is_pinned(module: str) -> None:
    # The pause program only uses Go's standard library.
    assert (GO_MODULES / module / ("go.mod" if module == "pause" else "go.sum")).is_file()


@pytest.mark.parametrize("program", NODE_PROGRAMS)
def test_the_go_module_of_the_node_lists_its_programs(program: str) -> None:
    assert f"k8s.io/kubernetes/cmd/{program}" in (GO_MODULES / VERSION / "go.mod").read_text()


@pytest.fixture
def pid_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory with the PID files, in place of the cluster's; the logs are beside it."""
    if not Path("/proc/self/stat").exists():
        pytest.skip("this machine has no /proc, in which the cluster finds its processes")
    monkeypatch.setattr(processes, "PID_DIRECTORY", tmp_path / "run")
    monkeypatch.setattr(processes, "LOG_DIRECTORY", tmp_path / "log")
    return tmp_path / "run"


@pytest.mark.usefixtures("pid_directory")
def test_a_component_that_exits_early_is_reported_with_its_log() -> None:
    processes.start("part", "sh", "-c", "echo the port is taken; exit 1")
    with pytest.raises(ClusterError, match=r"part ended before it was ready\n.*\nthe port is taken"):
        processes.wait_until(lambda: False, "it was ready", by="part")


@pytest.mark.usefixtures("pid_directory")
def test_a_component_is_started_once_and_reliably_stopped() -> None:
    processes.start("part", "sleep", "1000")
    first = processes.pid_of("part")
    processes.start("part", "sleep", "1000")
    assert first is not None
    assert processes.pid_of("part") == first
    processes.stop("part")
    assert processes.pid_of("part") is None
    assert processes.names() == []


def test_a_reused_pid_is_not_taken_for_our_process(pid_directory: Path) -> None:
    pid_directory.mkdir()
    (pid_directory / "part.pid").write_text("1 0")
    assert processes.pid_of("part") is None
