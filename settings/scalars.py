"""Numbers, booleans and text, as `pulumi config set --path` and YAML store them.

Without `--type`, Pulumi 3.259 stores `true`, `false` and whole numbers as such, and every other value as text: `0.1`
becomes '0.1'. A value of another type is accepted if its meaning is unambiguous.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, get_args

import yaml
from pydantic import BeforeValidator, WithJsonSchema

WHOLE_PATTERN = r"-?(0|[1-9][0-9]*)"
DECIMAL_PATTERN = rf"{WHOLE_PATTERN}(\.[0-9]+)?"
BOOLEAN_PATTERN = "true|false"

PATTERNS = {"boolean": BOOLEAN_PATTERN, "integer": WHOLE_PATTERN, "number": DECIMAL_PATTERN}
"""Maps a type of JSON Schema to the pattern of the text that keys of this type also accept."""

_CONVERSIONS = (
    (bool, re.compile(BOOLEAN_PATTERN), lambda text: text == "true"),
    (int, re.compile(WHOLE_PATTERN), int),
    (float, re.compile(DECIMAL_PATTERN), float),
)


def as_typed(value: Any, annotation: Any) -> Any:
    """Return the number or boolean that a text stands for, if the annotation is of that type; else the value."""
    if isinstance(value, str):
        types = scalar_types(annotation)
        for type_, pattern, convert in _CONVERSIONS:
            if type_ in types and pattern.fullmatch(value):
                return convert(value)
    return value


def scalar_types(annotation: Any) -> set[Any]:
    """Return the types of the values that an annotation allows: those of a union, or of a literal's values."""
    parts = get_args(annotation)
    if parts:
        return set().union(*map(scalar_types, parts))
    return {annotation if isinstance(annotation, type) else type(annotation)}


def _as_text(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else value


Text = Annotated[
    str, BeforeValidator(_as_text), WithJsonSchema({"type": ["string", "integer", "boolean"]}, mode="validation")
]
"""Text that passes unchanged to a container or an object. A whole number or a boolean is its text."""


def reinterpreted(document: Any, source: str) -> Iterator[tuple[Sequence[str], Any, str]]:
    """Yield each number or boolean that a stack's file spells in another way: `0777`, which YAML reads as 511.

    Args:
        document: the values by key, with the namespace.
        source: the content of the file. Values that it doesn't have are skipped.
    """
    if not any(_numbers(document, ())):
        return
    try:
        config = _child(yaml.compose(source, Loader=yaml.SafeLoader), "config")
    except yaml.YAMLError:
        return
    for path, value in _numbers(document, ()):
        node = config
        for part in path:
            node = _child(node, part)
        if isinstance(node, yaml.ScalarNode) and not re.fullmatch(f"{BOOLEAN_PATTERN}|{DECIMAL_PATTERN}", node.value):
            yield path, value, node.value


def _numbers(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(value, Mapping):
        for key, one in value.items():
            yield from _numbers(one, (*path, str(key)))
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for index, one in enumerate(value):
            yield from _numbers(one, (*path, str(index)))
    elif isinstance(value, int | float):
        yield path, value


def _child(node: Any, key: str) -> Any:
    if isinstance(node, yaml.MappingNode):
        return next((value for name, value in node.value if name.value == key), None)
    if isinstance(node, yaml.SequenceNode) and key.isdigit() and int(key) < len(node.value):
        return node.value[int(key)]
    return None
