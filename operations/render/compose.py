"""Docker resources as a Compose file (https://github.com/compose-spec/compose-spec/blob/main/spec.md)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from operations.project import PROJECT, ROOT, OperationError
from operations.render import text
from operations.render.placeholders import ENVIRONMENT_FILE, EXAMPLE_FILE, Placeholders
from operations.render.resources import recorded_resources
from recording.recorder import Registration
from settings import Settings

COMPOSE_FILE = "compose.yaml"

# These inputs only control how the provider creates and deletes; Compose doesn't need them.
PROVIDER_ONLY_FIELDS = {"wait", "waitTimeout", "destroyGraceSeconds", "mustRun", "start", "name", "image", "labels"}
SEPARATELY_TRANSLATED_FIELDS = {"uploads", "logDriver", "logOpts", "networksAdvanced"}


def write(settings: Settings, placeholders: Placeholders, stack: str, directory: Path) -> None:
    """Write the Compose file and an example of its environment file."""
    with_tokens = compose_text_with_tokens(settings, placeholders, stack)
    needed = placeholders.used_in(with_tokens)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / COMPOSE_FILE).write_text(needed.to_compose(with_tokens))
    (directory / EXAMPLE_FILE).write_text(
        needed.example(
            "The secrets of the rendered stack. Copy this file to .env, next to compose.yaml.",
            "Letters, digits, '-' and '_' only: the values are inserted unchanged into files of several formats.",
            *needed.certificate_instructions(settings.gateway.domain),
        )
    )
    shown = directory.relative_to(ROOT)
    print(f"{shown}/{COMPOSE_FILE} and {shown}/{EXAMPLE_FILE} are written.")
    if needed.required:
        print(f"Set the secrets: cp {shown}/{EXAMPLE_FILE} {shown}/{ENVIRONMENT_FILE}, and fill in the empty ones.")
    print(f"Run it: docker compose -f {shown}/{COMPOSE_FILE} up --wait")


def compose_text_with_tokens(settings: Settings, placeholders: Placeholders, stack: str) -> str:
    """Return the Compose file with tokens for secrets; the same settings always give the same text."""
    resources = recorded_resources(settings, placeholders, stack)
    body = text.document(compose_file(resources, name=f"{PROJECT}-{stack}"))
    return text.header(stack) + body.replace("$", "$$")


def compose_file(resources: Iterable[Registration], *, name: str) -> dict[str, Any]:
    """Return the Compose document that creates the same containers, networks and volumes.

    A container that only copies files into a volume becomes a service that runs `true` once, with the files as Compose
    configs. Containers that mount the volume wait for it.

    Raises:
        OperationError: a container has a field that has no translation here.
    """
    # The order of registrations varies from run to run.
    listed = sorted(resources, key=lambda one: one.name)
    containers = {str(one): one for one in listed if one.type.endswith(":Container")}
    networks = {one.inputs["name"]: one for one in listed if one.type.endswith(":Network")}
    volumes = {one.inputs["name"]: one for one in listed if one.type.endswith(":Volume")}
    configs: dict[str, Any] = {}
    services: dict[str, Any] = {}
    for container in containers.values():
        service = _service(container, {key: one.name for key, one in networks.items()})
        uploads = container.inputs.get("uploads", [])
        for upload in uploads:
            config = f"{container.name}-{upload['file'].rpartition('/')[2].replace('.', '-').lower()}"
            configs[config] = {"content": upload["content"]}
            target = {"source": config, "target": upload["file"], "mode": upload["permissions"]}
            service.setdefault("configs", []).append(target)
        needed = [one for key, one in containers.items() if key in container.dependencies]
        if needed:
            service["depends_on"] = {one.name: {"condition": _condition(one)} for one in needed}
        services[container.name] = service
    return {
        "name": name,
        "services": services,
        "networks": {one.name: _network_or_volume(one) for one in networks.values()},
        "volumes": {one.inputs["name"]: _network_or_volume(one) for one in volumes.values()},
        "configs": configs,
    }


def _condition(needed: Registration) -> str:
    if needed.inputs.get("start") is False:
        return "service_completed_successfully"
    return "service_healthy" if "healthcheck" in needed.inputs else "service_started"


def _network_or_volume(resource: Registration) -> dict[str, Any]:
    inputs = resource.inputs
    driver = {"driver": inputs["driver"]} if "driver" in inputs else {}
    ipam = {"ipam": {"config": [dict(one) for one in inputs["ipamConfigs"]]}} if "ipamConfigs" in inputs else {}
    return {"name": inputs["name"], **driver, **ipam, "labels": _labels(resource)}


def _service(container: Registration, networks: Mapping[str, str]) -> dict[str, Any]:
    inputs = container.inputs
    service: dict[str, Any] = {"image": inputs["image"], "container_name": inputs["name"]}
    if unknown := inputs.keys() - PROVIDER_ONLY_FIELDS - SEPARATELY_TRANSLATED_FIELDS - _TRANSLATIONS.keys():
        raise OperationError(
            f"container {container.name!r}: the field {', '.join(sorted(unknown))!r} has no translation to Compose"
        )
    for field, translation in _TRANSLATIONS.items():
        if field in inputs:
            service |= translation(inputs[field])
    if "networksAdvanced" in inputs:
        service["networks"] = {networks[one["name"]]: _aliases(one) for one in inputs["networksAdvanced"]}
    if "logDriver" in inputs:
        service["logging"] = {"driver": inputs["logDriver"], "options": inputs["logOpts"]}
    if inputs.get("start") is False:
        # The service exits immediately, which the image's own health check would report as unhealthy.
        service |= {"restart": "no", "healthcheck": {"disable": True}}
    service["labels"] = _labels(container)
    return service


def _labels(resource: Registration) -> dict[str, str]:
    return {label["label"]: label["value"] for label in resource.inputs["labels"]}


def _aliases(network: Mapping[str, Any]) -> dict[str, Any]:
    return {"aliases": network["aliases"]} if "aliases" in network else {}


def _port(port: Mapping[str, Any]) -> dict[str, Any]:
    return {"target": int(port["internal"]), "published": str(int(port["external"])), "host_ip": port["ip"]}


def _mount(mount: Mapping[str, Any]) -> dict[str, Any]:
    return {"read_only" if key == "readOnly" else key: value for key, value in mount.items()}


def _healthcheck(health: Mapping[str, Any]) -> dict[str, Any]:
    times = {"interval": health["interval"], "timeout": health["timeout"], "retries": int(health["retries"])}
    return {"test": health["tests"], **times}


_TRANSLATIONS: Mapping[str, Any] = {
    "hostname": lambda value: {"hostname": value},
    "entrypoints": lambda value: {"entrypoint": value},
    "command": lambda value: {"command": value},
    "envs": lambda value: {"environment": dict(one.split("=", 1) for one in value)},
    "user": lambda value: {"user": value},
    "init": lambda value: {"init": value},
    "readOnly": lambda value: {"read_only": value},
    "capabilities": lambda value: {"cap_drop": value["drops"]},
    "securityOpts": lambda value: {"security_opt": value},
    "tmpfs": lambda value: {"tmpfs": [f"{path}:{options}" for path, options in value.items()]},
    "mounts": lambda value: {"volumes": [_mount(mount) for mount in value]},
    "hosts": lambda value: {"extra_hosts": [f"{one['host']}:{one['ip']}" for one in value]},
    "networkMode": lambda value: {"network_mode": value},
    "ports": lambda value: {"ports": [_port(port) for port in value]},
    "memory": lambda value: {"mem_limit": f"{int(value)}m"},
    "memorySwap": lambda value: {"memswap_limit": f"{int(value)}m"},
    "cpuShares": lambda value: {"cpu_shares": int(value)},
    "restart": lambda value: {"restart": value},
    "healthcheck": lambda value: {"healthcheck": _healthcheck(value)},
    "stopTimeout": lambda value: {"stop_grace_period": f"{int(value)}s"},
}
