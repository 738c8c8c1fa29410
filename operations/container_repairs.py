"""Repairs of running containers that somebody changed by hand.

The provider's refresh compares neither a container's networks nor whether it is paused, and a quick `make up` doesn't
refresh its restart policy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any


def repair(
    found: Iterable[Mapping[str, Any]], docker: Callable[..., str], recorded: Sequence[Mapping[str, Any]]
) -> None:
    """Connect, unpause and restore the restart policy of the recorded containers that run. Print each repair.

    Args:
        found: the stack's containers, as `docker inspect` shows them.
        docker: runs the docker command, and returns its output.
        recorded: the resources of the stack's state.
    """
    outputs_by_id = {
        str(one["id"]): one["outputs"] for one in recorded if one["type"] == "docker:index/container:Container"
    }
    running = [one for one in found if one["State"]["Running"] and one["Id"] in outputs_by_id]
    networks = set(docker("network", "ls", "--no-trunc", "--quiet").split()) if running else set()
    for container in running:
        outputs = outputs_by_id[container["Id"]]
        name = outputs["name"]
        connected = {one["NetworkID"] for one in container["NetworkSettings"]["Networks"].values()}
        for network in outputs.get("networksAdvanced") or []:
            if network["name"] in networks - connected:
                print(f"· container {name} is connected to its network again", flush=True)
                aliases = [part for alias in network.get("aliases") or [] for part in ("--alias", alias)]
                docker("network", "connect", *aliases, network["name"], container["Id"])
        if container["HostConfig"]["RestartPolicy"]["Name"] != outputs["restart"]:
            print(f"· container {name} has the restart policy '{outputs['restart']}' again", flush=True)
            docker("update", "--restart", outputs["restart"], container["Id"])
        if container["State"]["Paused"]:
            print(f"· container {name} is no longer paused", flush=True)
            docker("unpause", container["Id"])
