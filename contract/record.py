"""Records with documented fields, which convert to plain mappings and are validated when read back."""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Self


class ContractError(ValueError):
    """The outputs don't match the contract or have another version."""


@dataclass(frozen=True)
class Variable:
    """An environment variable of every service, which has the value of the field that declares it."""

    name: str
    meaning: str
    """Description of the value, or of the services that get it, for docs/service-contract.md."""

    key: Callable[[Any, str], str] | None = None
    """For a mapping of secrets: returns the key of a service's own secret, from the store's record and the service's
    name."""


def described(text: str, *, secret: bool = False, variable: Variable | None = None) -> Any:
    """Return a dataclass field with its documentation, whether it is secret, and the variable that holds its value."""
    return field(metadata={"description": text, "secret": secret, "variable": variable})


@dataclass(frozen=True, kw_only=True)
class Record:
    """One output, or a part of it."""

    def as_mapping(self) -> dict[str, Any]:
        """Return the values by output name. Nested records become mappings; other values are unchanged."""
        return {part.name: _plain(getattr(self, part.name)) for part in fields(self)}

    @classmethod
    def secret_names(cls) -> set[str]:
        """Return the names of the secret outputs."""
        return {part.name for part in fields(cls) if part.metadata["secret"]}

    @classmethod
    def parse(cls, value: Any) -> Self:
        """Return the record from a mapping. Ignore unknown names, because a newer stack may have more outputs.

        Raises:
            ContractError: a value is missing or has another type; the message names it.
        """
        return typing.cast(Self, _parsed(cls, value, cls.__name__))


TYPE_NAMES = {str: "text", int: "a whole number", bool: "true or false", Mapping: "a mapping"}


def _plain(value: Any) -> Any:
    if isinstance(value, Record):
        return value.as_mapping()
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    return value


def _parsed(kind: Any, value: Any, path: str) -> Any:
    """Return `value` converted to the annotation `kind`; a type variable means text."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    record = origin if is_dataclass(origin) else kind
    if is_dataclass(record) and isinstance(record, type):
        mapping = _expected(Mapping, value, path)
        hints = typing.get_type_hints(record)
        known = {part.name: hints[part.name] for part in fields(record)}
        return record(**{name: _parsed(hint, mapping.get(name), f"{path}.{name}") for name, hint in known.items()})
    if origin in (typing.Union, types.UnionType):
        return None if value is None else _parsed(arguments[0], value, path)
    if origin is not None:
        return {key: _parsed(arguments[1], one, f"{path}.{key}") for key, one in _expected(origin, value, path).items()}
    # The state contains numbers as floats.
    if kind is int and isinstance(value, float) and value.is_integer():
        return int(value)
    return _expected(str if isinstance(kind, typing.TypeVar) else kind, value, path)


def _expected(kind: Any, value: Any, path: str) -> Any:
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        given = "is missing" if value is None else f"is a value of type {type(value).__name__}"
        raise ContractError(f"output {path} {given}; expected {TYPE_NAMES[kind]}")
    return value
