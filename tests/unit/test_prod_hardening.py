"""Every pod in production, row by row: user, writable paths, resource requests, and probes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from recording.recorder import Recording
from settings.catalog import FRONTENDS, SERVICES
from tests.unit.conftest import PROD_SECRETS, Deploy, stack_file
from workloads import RECOVERY_S

Template = Mapping[str, Any]
Requirement = Callable[[Template], bool]

CONTROLLERS = ("Deployment", "StatefulSet", "Job")
RESTRICTED_VOLUME_TYPES = {"configMap", "secret", "emptyDir", "persistentVolumeClaim"}
"""The volume types that the `restricted` standard allows and the project uses."""


def container(template: Template) -> Mapping[str, Any]:
    """Return the only container."""
    (found,) = template["spec"]["containers"]
    assert isinstance(found, dict)
    return found


def security(template: Template) -> Mapping[str, Any]:
    """Return the pod's security settings, overridden by the container's."""
    return {**template["spec"]["securityContext"], **container(template)["securityContext"]}


def is_task(template: Template) -> bool:
    """Return whether the pod runs a task, which is never restarted and has no readiness probe."""
    return bool(template["spec"].get("restartPolicy") == "Never")


def holds_data(template: Template) -> bool:
    """Return whether a mount of the container is a PVC of the StatefulSet."""
    volumes = {volume["name"] for volume in template["spec"].get("volumes", [])}
    return any(mount["name"] not in volumes for mount in container(template).get("volumeMounts", []))


def check_of(probe: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a probe's check without its timings and thresholds."""
    return {key: probe[key] for key in ("exec", "httpGet", "tcpSocket") if key in probe}


def startup_s(probe: Mapping[str, Any]) -> int:
    """Return the seconds after which a startup probe stops the container."""
    return int(probe["failureThreshold"]) * int(probe["periodSeconds"])


REQUIREMENTS: Mapping[str, Requirement] = {
    "it doesn't run as root": lambda pod: security(pod)["runAsNonRoot"] is True and security(pod)["runAsUser"] > 0,
    "its group isn't root": lambda pod: security(pod)["runAsGroup"] > 0 and security(pod)["fsGroup"] > 0,
    "it can't gain privileges": lambda pod: security(pod)["allowPrivilegeEscalation"] is False,
    "it has no capabilities": lambda pod: security(pod)["capabilities"] == {"drop": ["ALL"]},
    "its root file system is read-only": lambda pod: security(pod)["readOnlyRootFilesystem"] is True,
    "its system calls are filtered by seccomp": lambda pod: (
        security(pod)["seccompProfile"] == {"type": "RuntimeDefault"}
    ),
    "it isn't privileged": lambda pod: "privileged" not in security(pod),
    "it shares no namespace with its node": lambda pod: not {"hostNetwork", "hostPID", "hostIPC"} & pod["spec"].keys(),
    "it uses no host port": lambda pod: all("hostPort" not in port for port in container(pod).get("ports", [])),
    "it mounts no host path": lambda pod: all(
        (volume.keys() - {"name"}) <= RESTRICTED_VOLUME_TYPES for volume in pod["spec"].get("volumes", [])
    ),
    "its writable memory volumes have a size limit": lambda pod: all(
        "sizeLimit" in volume["emptyDir"] for volume in pod["spec"].get("volumes", []) if "emptyDir" in volume
    ),
    "its configuration and secrets are read-only": lambda pod: all(
        mount["readOnly"] is True
        for mount in container(pod).get("volumeMounts", [])
        if mount["name"].startswith("files-")
    ),
    "it has no API token": lambda pod: pod["spec"]["automountServiceAccountToken"] is False,
    "it has its own service account": lambda pod: pod["spec"]["serviceAccountName"] not in ("", "default"),
    "it gets no service environment variables": lambda pod: pod["spec"]["enableServiceLinks"] is False,
    "no secret is in its environment": lambda pod: all("valueFrom" not in one for one in container(pod).get("env", [])),
    "its memory request equals its limit": lambda pod: (
        container(pod)["resources"]["limits"]["memory"] == container(pod)["resources"]["requests"]["memory"]
    ),
    "it has a CPU request": lambda pod: bool(container(pod)["resources"]["requests"]["cpu"]),
    "its image has an exact tag or digest": lambda pod: (
        ":" in container(pod)["image"].rpartition("/")[2] and not container(pod)["image"].endswith(":latest")
    ),
    "its last log lines are in its status": lambda pod: (
        container(pod)["terminationMessagePolicy"] == "FallbackToLogsOnError"
    ),
    "it has startup, readiness and liveness probes": lambda pod: (
        is_task(pod) or {"startupProbe", "readinessProbe", "livenessProbe"} <= container(pod).keys()
    ),
    "its startup and liveness probes run the same check": lambda pod: (
        "startupProbe" not in container(pod)
        or check_of(container(pod)["startupProbe"]) == check_of(container(pod)["livenessProbe"])
    ),
    "its recovery has no practical time limit": lambda pod: (
        not holds_data(pod) or startup_s(container(pod)["startupProbe"]) >= RECOVERY_S
    ),
    "its replicas are spread over nodes": lambda pod: is_task(pod) or bool(pod["spec"]["topologySpreadConstraints"]),
    "it has a termination grace period": lambda pod: pod["spec"]["terminationGracePeriodSeconds"] >= 10,
}


def templates(recording: Recording[Any]) -> Iterator[tuple[str, Template]]:
    """Map each workload to its pod template."""
    for kind in CONTROLLERS:
        for one in recording.of_type(kind):
            yield one.name, one.inputs["spec"]["template"]


@pytest.fixture(scope="module")
def prod(deploy: Deploy) -> Recording[Any]:
    """The stack in `Pulumi.prod.yaml`, with migrations."""
    file = stack_file("prod")
    services = file["pti-calendar:services"] | {"migrationCommand": ["npm", "run", "migrate"]}
    return deploy({**file, "pti-calendar:services": services}, PROD_SECRETS, stack="prod")


EXCEPTIONS: Mapping[str, set[str]] = {
    # These pods query the kubelets for volume usage and the API server for the namespace's objects, with their own
    # service account.
    "it has no API token": {"prometheus", "kube-state-metrics"},
    # The image contains only the program, so a health check on Docker would have no command to run.
    "it has startup, readiness and liveness probes": {"nginx-exporter"},
}


@pytest.mark.parametrize("row", REQUIREMENTS)
def test_every_pod_of_production_is_hardened(prod: Recording[Any], row: str) -> None:
    assert {name for name, template in templates(prod) if not REQUIREMENTS[row](template)} == EXCEPTIONS.get(row, set())


HTTP_PROBES: Mapping[str, tuple[int, str]] = {
    **{service.name: (service.port, "/health/live") for service in SERVICES},
    **{frontend.name: (frontend.port, "/health") for frontend in FRONTENDS},
    "prometheus": (9090, "/-/healthy"),
    "alertmanager": (9093, "/-/healthy"),
    # pgAdmin's database is a file in the container.
    "grafana": (3030, "/api/health"),
    "kong": (8100, "/status"),
    "nginx": (8081, "/healthz"),
}
PROBED_PORTS: Mapping[str, int] = {
    **{"redis": 6379, "kafka": 19092},
    **{"postgres-exporter": 9187, "redis-exporter": 9121, "kafka-exporter": 9308, "probe-exporter": 9115},
    **{"kube-state-metrics": 8080},
}


def test_liveness_only_checks_the_process_itself(prod: Recording[Any]) -> None:
    """A path that depends on another process, such as a service's readiness path, would cause restarts when that
    process fails."""
    expected = {name: {"httpGet": {"port": port, "path": path}} for name, (port, path) in HTTP_PROBES.items()}
    expected |= {name: {"tcpSocket": {"port": port}} for name, port in PROBED_PORTS.items()}
    expected["postgres"] = {"exec": {"command": ["sh", "/assets/alive.sh"]}}
    found = {
        name: check_of(container(template)["livenessProbe"])
        for name, template in templates(prod)
        if "livenessProbe" in container(template)
    }
    assert found == expected


def test_the_table_has_every_workload(prod: Recording[Any]) -> None:
    policies = {one.name for one in prod.of_type("NetworkPolicy")} - {"default-deny", "certificate-solvers"}
    assert {name for name, _ in templates(prod)} == policies


def test_the_namespace_refuses_unrestricted_pods(prod: Recording[Any]) -> None:
    labels = prod.get("Namespace", "namespace").inputs["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


def test_a_disruption_leaves_one_of_two_replicas(prod: Recording[Any]) -> None:
    several = {
        one.name
        for kind in ("Deployment", "StatefulSet")
        for one in prod.of_type(kind)
        if one.inputs["spec"]["replicas"] > 1
    }
    assert {one.name for one in prod.of_type("PodDisruptionBudget")} == several
