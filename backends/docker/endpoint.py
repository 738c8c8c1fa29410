"""Finds the Docker engine as the docker command does.

The order is that of the command: `DOCKER_HOST`, then `DOCKER_CONTEXT`, then the current context of its configuration
file, then the local socket. The setting `backend.host` precedes them all, because it belongs to the stack.

The provider's own order differs: a `DOCKER_CONTEXT` precedes the address that the program gives it, it looks for
contexts in `~/.docker` only, and it ignores the current context and the certificates of a context. So the program gives
it the address that was found here. The bootstrap imports this module: standard library only, in Python 3.7's syntax.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LOCAL_SOCKET = "npipe:////./pipe/docker_engine" if os.name == "nt" else "unix:///var/run/docker.sock"
DEFAULT_CONTEXT = "default"
"""The context's name that stands for `DOCKER_HOST` or the local socket."""

TLS_FILES = ("ca.pem", "cert.pem", "key.pem")
VARIABLES = ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_TLS", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH")
"""Everything that determines which engine a docker command uses."""


class EndpointError(Exception):
    """The docker command's configuration names no usable engine."""


@dataclass(frozen=True)
class EngineEndpoint:
    """How to reach an engine."""

    address: str
    source: str
    """The variable, context or setting that names the engine, for messages."""

    certificates: str | None = None
    """Directory with `ca.pem`, `cert.pem` and `key.pem`, for a TLS connection."""

    def __str__(self) -> str:
        return f"{self.address} ({self.source})"

    def environment(self, base: Mapping[str, str]) -> dict[str, str]:
        """Return the environment in which the docker command uses this engine."""
        chosen = {name: value for name, value in base.items() if name not in VARIABLES}
        chosen["DOCKER_HOST"] = self.address
        if self.certificates:
            chosen |= {"DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": self.certificates}
        return chosen


def find(host: str | None, environment: Mapping[str, str]) -> EngineEndpoint:
    """Return the engine's endpoint.

    Args:
        host: the setting `backend.host`.
        environment: the variables of the process.

    Raises:
        EndpointError: the chosen context doesn't exist or can't be used.
    """
    directory = _configuration_directory(environment)
    if host or environment.get("DOCKER_HOST"):
        source = "backend.host" if host else "DOCKER_HOST"
        address = host or environment["DOCKER_HOST"]
        # The docker command accepts an address without a scheme; the provider doesn't.
        address = address if "://" in address else f"tcp://{address}"
        return EngineEndpoint(address, source, _certificates_of_variables(address, directory, environment))
    name = environment.get("DOCKER_CONTEXT")
    source = f"DOCKER_CONTEXT '{name}'"
    if not name:
        name = _current_context(directory)
        source = f"current Docker context '{name}'"
    if not name or name == DEFAULT_CONTEXT:
        return EngineEndpoint(LOCAL_SOCKET, "the local socket")
    return _of_context(name, source, directory)


def _configuration_directory(environment: Mapping[str, str]) -> Path:
    return Path(environment.get("DOCKER_CONFIG") or Path.home() / ".docker")


def _certificates_of_variables(address: str, directory: Path, environment: Mapping[str, str]) -> str | None:
    is_remote = address.startswith(("tcp://", "https://"))
    if not is_remote or not (environment.get("DOCKER_TLS_VERIFY") or environment.get("DOCKER_TLS")):
        return None
    return environment.get("DOCKER_CERT_PATH") or str(directory)


def _current_context(directory: Path) -> str | None:
    file = directory / "config.json"
    if not file.exists():
        return None
    return str(_read_object(file).get("currentContext") or "") or None


def _of_context(name: str, source: str, directory: Path) -> EngineEndpoint:
    identifier = hashlib.sha256(name.encode()).hexdigest()
    file = directory / "contexts" / "meta" / identifier / "meta.json"
    if not file.exists():
        raise EndpointError(
            f"{source}: there is no such context in {directory}. 'docker context ls' lists them; select one with "
            "'docker context use', or unset DOCKER_CONTEXT."
        )
    endpoint = (_read_object(file).get("Endpoints") or {}).get("docker") or {}
    address = endpoint.get("Host")
    if not address:
        raise EndpointError(f"{source}: {file} names no Docker engine. Recreate it: docker context create")
    certificates = directory / "contexts" / "tls" / identifier / "docker"
    if not certificates.is_dir():
        return EngineEndpoint(address, source)
    missing = [one for one in TLS_FILES if not (certificates / one).exists()]
    problem = f"has no {', '.join(missing)}" if missing else "doesn't verify the engine's certificate"
    if missing or endpoint.get("SkipTLSVerify"):
        raise EndpointError(
            f"{source}: it {problem}. The Docker provider doesn't support that. Recreate it with all of them: "
            "docker context create … --docker host=…,ca=FILE,cert=FILE,key=FILE"
        )
    return EngineEndpoint(address, source, str(certificates))


def _read_object(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise EndpointError(f"{file} can't be read: {error}") from None
    return found if isinstance(found, dict) else {}
