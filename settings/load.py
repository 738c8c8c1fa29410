"""Reads the stack's configuration, the only place that does, and explains every mistake in it at once."""

from __future__ import annotations

import difflib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, get_args

import pulumi
from pulumi.runtime import config as runtime_config
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from settings.base import Contradictions
from settings.credentials import CREDENTIALS, POSTGRES_MONITOR, Credential
from settings.models import Settings

NAMESPACE = "pti-calendar"

SECTIONS = {field.alias or name: name for name, field in Settings.model_fields.items()}
SECRET_KEYS = {credential.key for credential in CREDENTIALS}

REMOVED = {
    "postgres.sharedBuffersMib": "the cache is a quarter of postgres.memoryMib; remove it: "
    f"pulumi config rm --path {NAMESPACE}:postgres.sharedBuffersMib",
}
"""Keys of earlier versions, and what takes their place."""


class SettingsError(pulumi.RunError):
    """The configuration can't be used; the message lists every mistake with its remedy."""


def load() -> Settings:
    """The settings of the running stack.

    Raises:
        SettingsError: listing every mistake, before any resource is registered.
    """
    raw = {**runtime_config.get_config_env(), **runtime_config.CONFIG.get()}
    secret = {key for key in raw if runtime_config.is_config_secret(key)}
    return parse(raw, secret)


def parse(raw: Mapping[str, Any], secret: Collection[str] = (), *, with_secrets: bool = True) -> Settings:
    """Validates configuration as Pulumi hands it over.

    Args:
        raw: full keys (`pti-calendar:postgres`) to text; objects are JSON. Keys of other namespaces are left alone.
        secret: the keys whose value is encrypted in the stack's file.
        with_secrets: whether the secrets that a person must supply have to be there.
    """
    own = {key.removeprefix(f"{NAMESPACE}:"): value for key, value in raw.items() if key.startswith(f"{NAMESPACE}:")}
    mistakes = [*_misplaced_keys(own, secret), *_unusable_secrets(own)]
    # An encrypted section is a mistake of its own, and no message may show what is in it.
    readable = {key: value for key, value in own.items() if f"{NAMESPACE}:{key}" not in secret}
    document = {key: _decoded(value) for key, value in readable.items() if key in SECTIONS}
    try:
        settings = Settings.model_validate(document, by_alias=True, by_name=False)
    except ValidationError as error:
        mistakes += [entry for detail in error.errors(include_url=False) for entry in _explained(detail)]
    else:
        mistakes += _unreadable_secrets(settings, own)
        mistakes += _missing_secrets(settings, own) if with_secrets else []
    if mistakes:
        count = "1 mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
        raise SettingsError(
            "\n\n".join(
                [
                    f"{count} in the stack's configuration; nothing has been changed.",
                    *mistakes,
                    "Every key is described in docs/configuration.md.",
                ]
            )
        )
    return settings


def supplied(credential: Credential) -> pulumi.Output[str] | None:
    """The value a person has set for a credential, as a secret; None when it is left to the stack."""
    return pulumi.Config(NAMESPACE).get_secret(credential.key)


def _decoded(value: Any) -> Any:
    """An object or scalar from the text Pulumi hands over; text that isn't JSON is a plain string."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except json.JSONDecodeError:
        return value


def _misplaced_keys(own: Mapping[str, Any], secret: Collection[str]) -> Iterable[str]:
    for key in own:
        encrypted = f"{NAMESPACE}:{key}" in secret
        if key in SECRET_KEYS and not encrypted:
            yield _entry([key], "a value in plain text", f"a secret: pulumi config set --secret {NAMESPACE}:{key}")
        elif key in SECTIONS and encrypted:
            yield _entry(
                [key],
                "an encrypted value",
                f"plain settings; secrets are top-level keys: {', '.join(sorted(SECRET_KEYS))}",
            )
        elif key not in SECTIONS and key not in SECRET_KEYS:
            yield _entry([key], "an unknown key", _suggestion(key, {*SECTIONS, *SECRET_KEYS}))


def _unusable_secrets(own: Mapping[str, Any]) -> Iterable[str]:
    for key in sorted(SECRET_KEYS & own.keys()):
        value = str(own[key])
        if not value.strip() or not value.isprintable():
            yield _entry(
                [key],
                "an empty value or one with a line break (not shown)",
                "printable characters on one line, at least one",
            )


def _unreadable_secrets(settings: Settings, own: Mapping[str, Any]) -> Iterable[str]:
    # postgres_exporter takes its own connection string apart at the spaces ("malformed dsn").
    value = str(own.get(POSTGRES_MONITOR.key, ""))
    if settings.monitoring.enabled and " " in value and value.strip():
        yield _entry(
            [POSTGRES_MONITOR.key],
            "a value with a space (not shown)",
            "printable characters without a space, while monitoring is on: PostgreSQL's exporter can't read one",
        )


def _missing_secrets(settings: Settings, own: Mapping[str, Any]) -> Iterable[str]:
    for credential in settings.supplied_credentials():
        if credential.key not in own:
            command = f"pulumi config set --secret {NAMESPACE}:{credential.key}"
            yield _entry([credential.key], f"nothing; it is {credential.purpose}", f"a secret: {command}")


def _explained(detail: ErrorDetails) -> Iterable[str]:
    """What pydantic found, as entries: the key, what was given, what is allowed, and the default."""
    location = _key([part for part in detail["loc"] if isinstance(part, str)])
    given = detail["input"]
    reason = detail["ctx"]["error"] if detail["type"] == "value_error" else None
    if isinstance(reason, Contradictions):
        for key, allowed in reason.allowed.items():
            yield _about([*location, *key.split(".")], _found(given, key.split(".")), allowed)
    else:
        yield _about(location, given, str(reason) if reason else None)


def _key(location: Sequence[str]) -> Sequence[str]:
    """The part of a place that is a key: what is wrong inside a list or among names is told by their key."""
    model: type[BaseModel] = Settings
    for depth, part in enumerate(location, start=1):
        section = section_model(model, part)
        if section is None:
            return location[:depth]
        model = section
    return location


def _about(location: Sequence[str], given: Any, allowed: str | None) -> str:
    """The entry for one key."""
    model: type[BaseModel] = Settings
    for part in location[:-1]:
        model = section_model(model, part) or model
    fields, last = _fields(model), location[-1]
    if last not in fields:
        if gone := REMOVED.get(".".join(location)):
            return _entry(location, "a key of an earlier version", f"nothing: {gone}")
        return _entry(location, "an unknown key", _suggestion(last, fields))
    if section := section_model(model, last):
        shown = "nothing" if given is _NOTHING else _shown(given)
        return _entry(location, shown, allowed or f"a section with the keys {', '.join(_fields(section))}")
    default = fields[last].get_default(call_default_factory=True, validated_data={})
    words = "none" if default is None else json.dumps(default) if isinstance(default, bool) else str(default)
    source = f"{words} (class {model.__name__} in {model.__module__.replace('.', '/')}.py)"
    shown = "nothing: the default below" if given is _NOTHING else _shown(given)
    return _entry(location, shown, allowed or allowed_values(model, last)) + f"\n  default: {source}"


def _found(document: Any, path: Sequence[str]) -> Any:
    for part in path:
        document = document.get(part, _NOTHING) if isinstance(document, Mapping) else _NOTHING
    return document


def _shown(value: Any) -> str:
    """A value in the words of the file: true and null, not Python's; text in quotes."""
    if isinstance(value, str):
        return repr(value)
    return json.dumps(value, default=str)


_NOTHING = object()


def _entry(location: Sequence[str], given: str, allowed: str) -> str:
    return f"{NAMESPACE}:{'.'.join(location)}\n  given:   {given}\n  allowed: {allowed}"


def _fields(model: type[BaseModel]) -> dict[str, FieldInfo]:
    return {field.alias or name: field for name, field in model.model_fields.items()}


def section_model(model: type[BaseModel], key: str) -> type[BaseModel] | None:
    """The model behind a key, where the key holds a section or may hold one."""
    field = _fields(model).get(key)
    annotations = [field.annotation, *get_args(field.annotation)] if field else []
    return next((one for one in annotations if isinstance(one, type) and issubclass(one, BaseModel)), None)


def allowed_values(model: type[BaseModel], key: str) -> str:
    """What a key takes, in words, read from its JSON Schema."""
    schema = model.model_json_schema(by_alias=True)["properties"][key]
    choice = next(one for one in schema.get("anyOf", [schema]) if one.get("type") != "null")
    if "enum" in choice:
        return "one of " + ", ".join(map(repr, choice["enum"]))
    if "const" in choice:
        return repr(choice["const"])
    if choice["type"] in ("integer", "number"):
        what = "a whole number" if choice["type"] == "integer" else "a number"
        limits = {"minimum": "from", "exclusiveMinimum": "above", "maximum": "to"}
        return " ".join([what, *(f"{word} {choice[k]}" for k, word in limits.items() if k in choice)])
    if choice["type"] == "array":
        return _allowed_list(schema, choice)
    if choice["type"] == "object":
        return "names with text"
    if choice["type"] == "boolean":
        return "true or false"
    if choice.get("format") == "ipv4":
        return "an IPv4 address"
    if "examples" in schema:
        return f"text such as '{schema['examples'][0]}'"
    return f"text that matches {choice['pattern']}" if "pattern" in choice else "text"


def _allowed_list(schema: Mapping[str, Any], choice: Mapping[str, Any]) -> str:
    items = choice["items"]
    what = ", ".join(items["enum"]) if "enum" in items else "text"
    either = " or 'all'" if {"const": "all"} in schema.get("anyOf", []) else ""
    example = f" such as {schema['examples'][0]}" if "examples" in schema else ""
    return f"a list of {what}{either}{example}"


def _suggestion(key: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(key, known, n=1)
    return f"'{close[0]}', the nearest key" if close else "one of " + ", ".join(sorted(known))
