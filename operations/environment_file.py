"""The environment file with which a service runs from an editor against the stack."""

from __future__ import annotations

import os
from pathlib import Path

from contract import StackOutputs
from contract.environment import Identity, service_environment, tool_urls
from operations.project import ROOT, OperationError
from settings.catalog import SERVICES
from settings.credentials import third_party


def write(service: str, outputs: StackOutputs[str]) -> Path:
    """Write `.env.<service>` with mode 0600, and return its path.

    Raises:
        OperationError: there is no such service.
    """
    path = ROOT / f".env.{service}"
    text = "".join(f"{name}={_quote(value)}\n" for name, value in variables(service, outputs).items())
    temporary = path.with_name(path.name + ".new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(
            f"# The {service} service from an editor, against the running stack. Contains secrets; git ignores it.\n"
        )
        file.write(text)
    temporary.rename(path)
    return path


def variables(service: str, outputs: StackOutputs[str]) -> dict[str, str]:
    """Return the variables of a service: those of a deployed one, secrets as values, and addresses for tools."""
    known = {one.name: one for one in SERVICES}
    if service not in known:
        raise OperationError(f"There is no service '{service}'; existing services: {', '.join(known)}.")
    third_parties = [third_party(secret).variable for secret in known[service].secrets]
    identity = Identity(name=service, port=known[service].port)
    environment = service_environment(identity, outputs.stores, outputs.credentials, third_parties)
    return {**environment.variables, **environment.secrets, **tool_urls(service, outputs)}


def _quote(value: str) -> str:
    """Return a value that shells and dotenv libraries read unchanged."""
    if value.isascii() and all(character.isalnum() or character in "-._:/@%+," for character in value):
        return value
    if "'" not in value:
        return f"'{value}'"
    if any(character in value for character in '"$`\\'):
        raise OperationError(
            "A password contains both ' and one of \" $ ` \\, which parsers of environment files read differently. "
            "Set a password without these characters."
        )
    return f'"{value}"'
