"""Random changes of settings, drawn from the schema of a stack's file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hypothesis import strategies

from settings.models import json_schema

Schema = Mapping[str, Any]
Strategy = strategies.SearchStrategy[Any]

WHERE_IT_RUNS = ("backend", "kubernetes", "images")
"""Sections that name the engine, the cluster or the registry. With other values, the preview couldn't reach them."""

LARGEST_STEP = 50
"""How far above its minimum a number without a near maximum may be."""


def changes() -> strategies.SearchStrategy[dict[str, Any]]:
    """Return a strategy for nested settings with two to six values. The settings refuse many of them."""
    values = dict(_leaves(json_schema()))
    return (
        strategies.lists(strategies.sampled_from(sorted(values)), min_size=2, max_size=6, unique=True)
        .flatmap(lambda paths: strategies.fixed_dictionaries({path: values[path] for path in paths}))
        .map(_nested)
    )


def _leaves(schema: Schema) -> Iterator[tuple[tuple[str, ...], Strategy]]:
    definitions = schema["$defs"]

    def below(one: Schema, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Strategy]]:
        for choice in one.get("anyOf", [one]):
            resolved = definitions[choice["$ref"].rpartition("/")[2]] if "$ref" in choice else choice
            if "properties" in resolved:
                for name, field in resolved["properties"].items():
                    yield from below(field, (*path, name))
            elif (strategy := _values({**one, **resolved})) is not None:
                yield path, strategy

    for name, section in schema["properties"].items():
        if name not in WHERE_IT_RUNS:
            yield from below(section, (name,))


def _values(field: Schema) -> Strategy | None:
    """Return the values of a field; None if the schema doesn't say enough about them."""
    if "enum" in field:
        return strategies.sampled_from(field["enum"])
    match field.get("type"):
        case "boolean":
            return strategies.booleans()
        case "integer":
            least = field.get("minimum", 1)
            return strategies.integers(least, min(field.get("maximum", least + LARGEST_STEP), least + LARGEST_STEP))
        case "number":
            return strategies.sampled_from((0.05, 0.5, 2.0))
        case "string" if "examples" in field:
            return strategies.sampled_from(field["examples"])
    return None


def _nested(values: Mapping[tuple[str, ...], Any]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for (*sections, key), value in values.items():
        target = nested
        for section in sections:
            target = target.setdefault(section, {})
        target[key] = value
    return nested
