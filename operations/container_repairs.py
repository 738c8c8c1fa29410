"""Repairs of running containers that somebody changed by hand.

The provider's refresh compares neither a container's networks nor whether it is paused, and a quick `make up` doesn't
refresh its restart policy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

INSPECT_FORMAT = (
    "{{.Id}} {{.State.Paused}} {{.HostConfig.RestartPolicy.Name}}"
    "{{range .NetworkSettings.Networks}} {{.NetworkID}}{{end}}"
)


def repair(docker: Callable[..., str], recorded: Sequence[Mapping[str, Any]]) -> None:
    """Connect, unpause and restore the restart policy of the recorded containers that run. Print each repair.

    Args:
        docker: runs the docker command, and returns its output.
        recorded: the resources of the stack's state.
    """
    containers = {
        str(one["id"]): one["outputs"] for one in recorded if one["type"] == "docker:index/container:Container"
    }
    running = [one for one in docker("ps", "--no-trunc", "--quiet").split() if one in containers]
    if not running:
        return
    networks = set(docker("network", "ls", "--no-trunc", "--quiet").split())
    for line in docker("container", "inspect", "--format", INSPECT_FORMAT, *running).splitlines():
        container, is_paused, restart, *connected = line.split()
        outputs = containers[container]
        name = outputs["name"]
        for network in outputs.get("networksAdvanced") or []:
            if network["name"] in networks and network["name"] not in connected:
                print(f"· container {name} is connected to its network again", flush=True)
                aliases = [part for alias in network.get("aliases") or [] for part in ("--alias", alias)]
                docker("network", "connect", *aliases, network["name"], container)
        if restart != outputs["restart"]:
            print(f"· container {name} has the restart policy '{outputs['restart']}' again", flush=True)
            docker("update", "--restart", outputs["restart"], container)
        if is_paused == "true":
            print(f"· container {name} is no longer paused", flush=True)
            docker("unpause", container)
