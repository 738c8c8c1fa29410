"""The same provider resources in a bare program: a stack that has the state of another one, without its structure.

Nothing is created. The resources of the other stack's state go into a new state without components, records,
dependencies and hooks, and `programs/bare_docker` registers them with their inputs.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from operations.project import ROOT
from tests.engine.pulumi_stack import PulumiStack

PROGRAM = ROOT / "benchmarks" / "programs" / "bare_docker"
PROJECT = "pti-benchmark-bare-docker"
STACK = "pulumi:pulumi:Stack"
RECORDS = "pulumi:index:"
PROVIDERS = "pulumi:providers:"
SECRET = "4dabf18193072939515e22adb298388d"  # noqa: S105 - the key that marks a secret in a state
KEPT = ("urn", "custom", "id", "type", "inputs", "outputs", "provider", "created", "modified")


def bare_stack(home: Path, other: PulumiStack) -> PulumiStack:
    """Return a stack of the bare program with the provider resources of the other stack's state."""
    document = other.export("--show-secrets")
    resources = [one for one in document["deployment"]["resources"] if _is_kept(one)]
    home.mkdir()
    file = home / "resources.json"
    file.write_text(
        json.dumps(
            [
                {"type": one["type"], "name": _name(one), "inputs": _revealed(one["inputs"])}
                for one in resources
                if not one["type"].startswith((STACK, PROVIDERS))
            ]
        )
    )
    bare = PulumiStack(home, PROGRAM, {"resources": str(file)})
    document["deployment"]["resources"] = _flattened(resources, bare.name)
    state = home / "state.json"
    state.write_text(json.dumps(document))
    bare.import_state(state)
    return bare


def _is_kept(resource: dict[str, Any]) -> bool:
    return resource["type"] == STACK or (resource.get("custom", False) and not resource["type"].startswith(RECORDS))


def _name(resource: dict[str, Any]) -> str:
    return str(resource["urn"].rpartition("::")[2])


def _flattened(resources: list[dict[str, Any]], stack: str) -> list[dict[str, Any]]:
    """Return the resources with the stack as their parent."""
    root = f"urn:pulumi:{stack}::{PROJECT}::{STACK}::{PROJECT}-{stack}"
    urns = {
        one["urn"]: root if one["type"] == STACK else f"urn:pulumi:{stack}::{PROJECT}::{one['type']}::{_name(one)}"
        for one in resources
    }
    flat = []
    for one in resources:
        kept = {key: one[key] for key in KEPT if key in one} | {"urn": urns[one["urn"]]}
        if one["type"] == STACK:
            kept.pop("outputs", None)
        else:
            kept["parent"] = root
        if provider := one.get("provider"):
            urn, _, identity = provider.rpartition("::")
            kept["provider"] = f"{urns[urn]}::{identity}"
        flat.append(kept)
    return flat


def _revealed(value: Any) -> Any:
    """Return an input from the state in the form in which a program passes it."""
    if isinstance(value, dict):
        if SECRET in value:
            return json.loads(value["plaintext"])
        return {key: _revealed(one) for key, one in value.items() if key != "__defaults"}
    return [_revealed(one) for one in value] if isinstance(value, list) else value
