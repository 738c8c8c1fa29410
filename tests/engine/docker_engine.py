"""The Docker engine's objects of one stack, queried without the product's own code."""

from __future__ import annotations

import json
import re
import subprocess
from typing import Any

STACK_LABEL = "pti-calendar.stack"
WORKLOAD_LABEL = "pti-calendar.workload"
DATA_LABEL = "pti-calendar.data"
ANONYMOUS_VOLUME_PATTERN = re.compile(r"[0-9a-f]{64}")


def docker(*arguments: str, check: bool = True) -> str:
    """Run a docker command and return its output, including standard error."""
    done = subprocess.run(["docker", *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert not check or done.returncode == 0, f"docker {' '.join(arguments)}: {done.stdout}"
    return done.stdout


def containers(stack: str) -> list[dict[str, Any]]:
    """Return `docker inspect` of every container of the stack, including those that only copy files."""
    return _inspected("container", ["ps", "--all", "--quiet", "--no-trunc"], stack)


def volumes(stack: str) -> list[dict[str, Any]]:
    """Return `docker inspect` of every volume of the stack."""
    return _inspected("volume", ["volume", "ls", "--quiet"], stack)


def networks(stack: str) -> list[dict[str, Any]]:
    """Return `docker inspect` of every network of the stack."""
    return _inspected("network", ["network", "ls", "--quiet", "--no-trunc"], stack)


def workloads(stack: str) -> dict[str, str]:
    """Map workloads to their container's health, for containers that have a health check."""
    return {
        one["Config"]["Labels"][WORKLOAD_LABEL]: one["State"]["Health"]["Status"]
        for one in containers(stack)
        if "Health" in one["State"]
    }


def long_running(stack: str) -> dict[str, str]:
    """Map workloads to their container's health, without tasks: one that has succeeded needn't keep running."""
    return {
        one["Config"]["Labels"][WORKLOAD_LABEL]: one["State"]["Health"]["Status"]
        for one in containers(stack)
        if "Health" in one["State"] and one["HostConfig"]["RestartPolicy"]["Name"] != "no"
    }


def persistent_volumes(stack: str) -> set[str]:
    """Return the names of the data volumes. (An engine's volumes have no ID, and `CreatedAt` changes with writes.)"""
    return {one["Name"] for one in volumes(stack) if one["Labels"].get(DATA_LABEL) == "persistent"}


def anonymous_volumes(stack: str) -> list[tuple[str, str]]:
    """Return the containers with an anonymous volume, and the path where it is mounted."""
    return [
        (one["Name"], mount["Destination"])
        for one in containers(stack)
        for mount in one["Mounts"]
        if mount["Type"] == "volume" and ANONYMOUS_VOLUME_PATTERN.fullmatch(mount["Name"])
    ]


def unexecuted_checks(stack: str) -> set[str]:
    """Return the workloads whose liveness check can't be executed, from the last outputs of their health checks."""
    return {
        one["Config"]["Labels"][WORKLOAD_LABEL]
        for one in containers(stack)
        for check in one["State"].get("Health", {}).get("Log") or ()
        if "the liveness check can't be executed" in check["Output"]
    }


def remove_containers_and_networks(stack: str) -> None:
    """Remove containers like `docker rm`: the volumes stay."""
    if found := [one["Id"] for one in containers(stack)]:
        docker("rm", "--force", "--volumes", *found)
    if found := [one["Id"] for one in networks(stack)]:
        docker("network", "rm", *found)


def remove_everything(stack: str) -> None:
    """Remove only containers, networks and volumes with the stack's label."""
    remove_containers_and_networks(stack)
    if found := [one["Name"] for one in volumes(stack)]:
        docker("volume", "rm", *found)


def _inspected(kind: str, listing: list[str], stack: str) -> list[dict[str, Any]]:
    names = docker(*listing, "--filter", f"label={STACK_LABEL}={stack}").split()
    if not names:
        return []
    # If a container is removed in between, the command leaves it out and fails.
    done = subprocess.run(["docker", kind, "inspect", *names], capture_output=True, text=True)
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found
