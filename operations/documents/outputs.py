"""The reference page of the stack outputs, from the contract."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any

from contract import CONTRACT_VERSION, StackOutputs
from operations.documents.configuration import GENERATED_NOTICE


def outputs_page() -> str:
    """Return `docs/outputs.md`."""
    lines = [
        "# Stack outputs",
        "",
        GENERATED_NOTICE,
        "",
        f"Version {CONTRACT_VERSION} of the contract. The version increases when an output changes its meaning, type",
        "or name, or is removed; a new output doesn't change it. `contract/` reads and validates the outputs. It",
        "only needs Python's standard library, so another team can copy the folder:",
        "",
        "```python",
        "from contract import StackOutputs",
        "",
        'stack = pulumi.StackReference("organization/pti-calendar/dev")',
        "outputs = stack.outputs.apply(StackOutputs.parse)",
        "```",
        "",
        "In a shell: `pulumi stack output --json -s dev`, with `--show-secrets` for the secret ones.",
        "",
        "A Python program that re-exports a secret value needs version 3.260.0 or newer of Pulumi's SDK. Older ones",
        "log stack outputs in plain text (pulumi/pulumi#24479), which `--debug`, `--json`, `--event-log` and",
        "`--logtostderr` show.",
        "",
        "| output | type | secret | description |",
        "| --- | --- | --- | --- |",
        *_rows(StackOutputs, "", secret=False),
    ]
    return "\n".join(lines) + "\n"


def _rows(record: Any, prefix: str, *, secret: bool) -> Iterator[str]:
    hints = typing.get_type_hints(record)
    for part in dataclasses.fields(record):
        hidden = secret or bool(part.metadata["secret"])
        nested, segment, shown = _shape(hints[part.name])
        mark = "yes" if hidden else "no"
        yield f"| `{prefix}{part.name}{segment}` | {shown} | {mark} | {part.metadata['description']} |"
        if nested is not None:
            yield from _rows(nested, f"{prefix}{part.name}{segment}.", secret=hidden)


def _shape(hint: Any) -> tuple[Any, str, str]:
    """Return the record inside a type, the path segment of its keys, and the type in words."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(origin or hint):
        return origin or hint, "", "object"
    if origin is Mapping or (isinstance(origin, type) and issubclass(origin, Mapping)):
        nested, _, shown = _shape(arguments[1])
        return nested, ".<name>", shown
    if origin in (typing.Union, types.UnionType):
        return None, "", f"{_shape(arguments[0])[2]} or null"
    return None, "", {int: "integer", bool: "boolean"}.get(hint, "string")
