"""`make render`: a Compose file and the example of its environment file, from the stack's own program."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import yaml

from operations.configuration import read_configuration
from operations.project import PROJECT, ROOT
from operations.render.compose import compose_file
from operations.render.placeholders import Placeholders
from operations.render.recorder import Registration, record
from settings import NAMESPACE, Settings


def render(stack: str) -> None:
    """Writes `rendered/<stack>/compose.yaml` and `.env.example` beside it.

    Raises:
        OperationError: there is no such stack, or its configuration has a mistake.
    """
    settings, supplied = read_configuration(stack)
    placeholders = Placeholders.of(settings, supplied)
    directory = ROOT / "rendered" / stack
    directory.mkdir(parents=True, exist_ok=True)
    marked = marked_compose_text(settings, placeholders, stack)
    needed = placeholders.used_in(marked)
    (directory / "compose.yaml").write_text(needed.insert(marked))
    (directory / ".env.example").write_text(needed.example())
    shown = directory.relative_to(ROOT)
    print(f"{shown}/compose.yaml and {shown}/.env.example are written.")
    if needed.required:
        print(f"Give it its secrets: cp {shown}/.env.example {shown}/.env, and fill in the empty ones.")
    print(f"Run it: docker compose -f {shown}/compose.yaml up --wait")


def recorded_resources(settings: Settings, placeholders: Placeholders, stack: str) -> list[Registration]:
    """What the program registers, with placeholders as its secrets."""
    from backends.create import create_backend
    from components.platform import Platform, PlatformArgs

    supplied = {f"{NAMESPACE}:{key}": mark for key, mark in placeholders.marks.items()}

    def program() -> None:
        backend = create_backend(settings, stack=stack)
        Platform("platform", PlatformArgs(settings=settings, backend=backend, stack=stack))

    return record(program, answer=_answer, raw=supplied, secret=list(supplied), stack=stack).registrations


def marked_compose_text(settings: Settings, placeholders: Placeholders, stack: str) -> str:
    """The Compose file with marks for secrets; the same settings always give the same text."""
    document = compose_file(recorded_resources(settings, placeholders, stack), name=f"{PROJECT}-{stack}")
    body = yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
    header = f"# Made by `make render STACK={stack}` from the stack's program and configuration. Don't edit it.\n"
    return header + body.replace("$", "$$")


def _answer(type_: str, inputs: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """Networks, volumes and images by their names; a container by an id that changes with its definition."""
    if type_.endswith(":RemoteImage"):
        return str(inputs["name"]), {"imageId": inputs["name"]}
    if type_.endswith(":Container"):
        return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest(), {}
    return str(inputs.get("name", type_)), {}


class _Dumper(yaml.SafeDumper):
    """Text of several lines stays readable."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _represent_text)
