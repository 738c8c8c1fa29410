"""Read the stack's configuration and report all mistakes at once. No other module reads the configuration."""

from __future__ import annotations

import difflib
import json
import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import pulumi
from pulumi.runtime import config as runtime_config
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from settings import consistency
from settings.base import NAMESPACE, REMOVE_COMMAND, Conflict, SettingsConflict, for_stack
from settings.credential import Credential
from settings.credentials import CREDENTIALS, required_credentials, supplied_credentials, unreadable_reason
from settings.models import Settings
from settings.renamed import REMOVED, RENAMED_SECRETS, with_current_keys
from settings.scalars import reinterpreted, scalar_types

SECTIONS = {field.alias or name: name for name, field in Settings.model_fields.items()}
SECRET_KEYS = {credential.key for credential in CREDENTIALS}
PEM_KEYS = {credential.key for credential in CREDENTIALS if credential.is_pem}

HIDDEN_VALUE = "(not shown)"
UNSET = "(not set)"
UNKNOWN_KEY_PROBLEM = "is an unknown key"


class SettingsError(pulumi.RunError):
    """The configuration can't be used. The message lists every mistake: key, value, problem, fix."""


def load(stack: str) -> Settings:
    """Return the settings of the running stack, which has that name.

    Raises:
        SettingsError: the configuration has mistakes, which the message lists. No resource has been registered yet.
    """
    raw = {**runtime_config.get_config_env(), **runtime_config.CONFIG.get()}
    secret = {key for key in raw if runtime_config.is_config_secret(key)}
    file = Path(f"Pulumi.{stack}.yaml")
    return parse(raw, secret, source=file.read_text() if file.exists() else "", stack=stack)


def parse(
    raw: Mapping[str, str],
    secret: Collection[str] = (),
    *,
    with_secrets: bool = True,
    source: str = "",
    stack: str | None = None,
) -> Settings:
    """Validate configuration in the form in which Pulumi passes it.

    Args:
        raw: full key (`pti-calendar:postgres`) to text; objects are JSON. Keys of other namespaces are ignored.
        secret: the keys whose value is encrypted in the stack's file.
        with_secrets: whether missing secrets are a mistake.
        source: the content of the stack's file, which shows how a number or a boolean is spelled.
        stack: the stack that the commands in the messages name; None for the selected one.
    """
    try:
        return _parsed(raw, secret, with_secrets=with_secrets, source=source)
    except SettingsError as error:
        raise SettingsError(for_stack(str(error), stack)) from None


def _parsed(raw: Mapping[str, str], secret: Collection[str], *, with_secrets: bool, source: str) -> Settings:
    own = {key.removeprefix(f"{NAMESPACE}:"): value for key, value in raw.items() if key.startswith(f"{NAMESPACE}:")}
    renamed = RENAMED_SECRETS.keys() & own.keys()
    mistakes = [_renamed_secret(key) for key in sorted(renamed)]
    own = {RENAMED_SECRETS.get(key, key): value for key, value in own.items()}
    secret = {*secret, *(f"{NAMESPACE}:{RENAMED_SECRETS[key]}" for key in renamed)}
    mistakes += [*_misplaced_keys(own, secret), *_unusable_secrets(own)]
    # An encrypted section is a separate mistake, and no message may show its content.
    readable = {key: value for key, value in own.items() if f"{NAMESPACE}:{key}" not in secret}
    document, moved = with_current_keys({key: _decode(value) for key, value in readable.items() if key in SECTIONS})
    mistakes += [_entry(one.key, _display_value(one.value), one.conflict.problem, one.conflict.fix) for one in moved]
    mistakes += _misread_scalars(document, source)
    try:
        settings = Settings.model_validate(document, by_alias=True, by_name=False)
    except ValidationError as error:
        mistakes += [entry for detail in error.errors(include_url=False) for entry in _explain(detail)]
    else:
        conflicts = consistency.conflicts(settings)
        for key, conflict in conflicts.items():
            location = key.split(".")
            mistakes.append(_entry_for_key(location, _value_at(document, location), conflict))
        if conflicts:
            raise _error(mistakes)
        mistakes += _unreadable_secrets(settings, own)
        mistakes += _missing_secrets(settings, own) if with_secrets else []
    if mistakes:
        raise _error(mistakes)
    return settings


def _error(mistakes: Sequence[str]) -> SettingsError:
    count = "1 mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
    heading = f"{count} in the stack's configuration; nothing has been changed."
    return SettingsError("\n\n".join([heading, *mistakes, "Every key is described in docs/configuration.md."]))


def supplied(credential: Credential) -> pulumi.Output[str] | None:
    """Return the value that is set for a credential, as a secret; None if the stack generates it."""
    return pulumi.Config(NAMESPACE).get_secret(credential.key)


def _decode(value: str) -> Any:
    """Parse an object or scalar from Pulumi's text; text that isn't JSON is a plain string."""
    try:
        return json.loads(value)
    except json.JSONDecodeError:
        return value


def _misplaced_keys(own: Mapping[str, Any], secret: Collection[str]) -> Iterable[str]:
    for key in own:
        encrypted = f"{NAMESPACE}:{key}" in secret
        if key in SECRET_KEYS and not encrypted:
            yield _entry([key], HIDDEN_VALUE, "is a secret in plain text", _set_secret(key))
        elif key in SECTIONS and encrypted:
            yield _entry(
                [key],
                HIDDEN_VALUE,
                "is encrypted, but contains plain settings",
                f"store it unencrypted; the secrets are top-level keys: {', '.join(sorted(SECRET_KEYS))}",
            )
        elif key not in SECTIONS and key not in SECRET_KEYS:
            yield _entry([key], HIDDEN_VALUE, UNKNOWN_KEY_PROBLEM, _suggestion(key, {*SECTIONS, *SECRET_KEYS}))


def _misread_scalars(document: Mapping[str, Any], source: str) -> Iterable[str]:
    """Yield text, or a number with a leading zero, that YAML reads as another value."""
    for (section, *rest), value, spelled in reinterpreted({f"{NAMESPACE}:{k}": v for k, v in document.items()}, source):
        location = [section.removeprefix(f"{NAMESPACE}:"), *rest]
        types = _types_of(_key(location))
        if (types & {int, float} and not spelled.startswith("0")) or bool in types:
            continue
        problem = f"is spelled {spelled} in the file, which YAML reads as {_display_value(value)}"
        yield _entry(location, spelled, problem, _set_text(spelled))


def _set_text(value: str) -> str:
    return f"put strings in quotes: pulumi config set --path --type string '{{key}}' {shlex.quote(value)}"


def _unusable_secrets(own: Mapping[str, Any]) -> Iterable[str]:
    for key in sorted(SECRET_KEYS & own.keys()):
        value = str(own[key])
        if key in PEM_KEYS and value.strip():
            continue
        if not value.strip() or not value.isprintable():
            yield _entry(
                [key],
                HIDDEN_VALUE,
                "is empty, or has a line break or another character that isn't printable",
                _set_secret(key),
            )


def _unreadable_secrets(settings: Settings, own: Mapping[str, Any]) -> Iterable[str]:
    for credential in required_credentials(settings):
        value = str(own.get(credential.key, ""))
        if value.strip() and (reason := unreadable_reason(credential, value)):
            yield _entry([credential.key], HIDDEN_VALUE, reason, _set_secret(credential.key))


def _missing_secrets(settings: Settings, own: Mapping[str, Any]) -> Iterable[str]:
    for credential in supplied_credentials(settings):
        if credential.key not in own:
            yield _entry([credential.key], UNSET, f"is required ({credential.purpose})", _set_secret(credential.key))


def _renamed_secret(key: str) -> str:
    present = RENAMED_SECRETS[key]
    fix = f"{_set_secret(present)}; then pulumi config rm {NAMESPACE}:{key}"
    return _entry([key], HIDDEN_VALUE, f"was renamed to {present}", fix)


def _set_secret(key: str) -> str:
    return f"pulumi config set --secret {NAMESPACE}:{key}"


def _explain(detail: ErrorDetails) -> Iterable[str]:
    """Yield the entries for a mistake that pydantic found."""
    location = _key([part for part in detail["loc"] if isinstance(part, str)])
    given = detail["input"]
    reason = detail["ctx"]["error"] if detail["type"] == "value_error" else None
    full = [str(part) for part in detail["loc"]]
    if detail["type"] == "string_type" and isinstance(given, float) and len(full) > len(location):
        yield _entry(full, _display_value(given), "must be a string", _set_text(_display_value(given)))
    elif isinstance(reason, SettingsConflict):
        for key, conflict in reason.conflicts.items():
            yield _entry_for_key([*location, *key.split(".")], _value_at(given, key.split(".")), conflict)
    else:
        yield _entry_for_key(location, given, str(reason) if reason else None)


def _key(location: Sequence[str]) -> Sequence[str]:
    """Return the part of a location that is a key: a mistake inside a list or mapping is reported for its key."""
    model: type[BaseModel] = Settings
    for depth, part in enumerate(location, start=1):
        section = section_model(model, part)
        if section is None:
            return location[:depth]
        model = section
    return location


def _types_of(location: Sequence[str]) -> set[Any]:
    """Return the types that the values of a key may have."""
    model: type[BaseModel] = Settings
    for part in location[:-1]:
        model = section_model(model, part) or model
    field = _fields(model).get(location[-1])
    return scalar_types(field.annotation) if field else set()


def _entry_for_key(location: Sequence[str], given: Any, reason: Conflict | str | None) -> str:
    """Return the entry for one key. `reason` is a conflict, or a description of the allowed values; None takes the
    description from the schema."""
    model: type[BaseModel] = Settings
    for part in location[:-1]:
        model = section_model(model, part) or model
    fields, last = _fields(model), location[-1]
    if last not in fields:
        if gone := REMOVED.get(".".join(location)):
            return _entry(location, HIDDEN_VALUE, gone, REMOVE_COMMAND)
        return _entry(location, HIDDEN_VALUE, UNKNOWN_KEY_PROBLEM, _suggestion(last, fields))
    problem, fix = (reason.problem, reason.fix) if isinstance(reason, Conflict) else (None, None)
    shown = UNSET if given is _MISSING else _display_value(given)
    if isinstance(given, int | float) and reason is None and str in _types_of(location):
        fix = _set_text(shown)
    if section := section_model(model, last):
        allowed = reason or f"a section with the keys {', '.join(_fields(section))}"
        return _entry(location, shown, problem or f"must be {allowed}", fix)
    default = fields[last].get_default(call_default_factory=True, validated_data={})
    words = "none" if default is None else json.dumps(default) if isinstance(default, bool) else str(default)
    source = f"{words} (class {model.__name__} in {model.__module__.replace('.', '/')}.py)"
    entry = _entry(location, shown, problem or f"must be {reason or allowed_values(model, last)}", fix)
    return f"{entry}\n  default: {source}"


def _value_at(document: Any, path: Sequence[str]) -> Any:
    for part in path:
        document = document.get(part, _MISSING) if isinstance(document, Mapping) else _MISSING
    return document


def _display_value(value: Any) -> str:
    """Return a value as in the file: true and null instead of Python's words, text in quotes."""
    if isinstance(value, str):
        return repr(value)
    return json.dumps(value, default=str)


_MISSING = object()


def _entry(location: Sequence[str], value: str, problem: str, fix: str | None = None) -> str:
    """Return a mistake as text: key, value, problem, fix."""
    key = f"{NAMESPACE}:{'.'.join(location)}"
    lines = [key, f"  value:   {value}", f"  problem: {problem}"]
    return "\n".join([*lines, *([f"  fix:     {fix.replace('{key}', key)}"] if fix else [])])


def _fields(model: type[BaseModel]) -> dict[str, FieldInfo]:
    return {field.alias or name: field for name, field in model.model_fields.items()}


def section_model(model: type[BaseModel], key: str) -> type[BaseModel] | None:
    """Return the model behind a key; None if the key can't hold a section."""
    field = _fields(model).get(key)
    annotations = [field.annotation, *get_args(field.annotation)] if field else []
    return next((one for one in annotations if isinstance(one, type) and issubclass(one, BaseModel)), None)


def allowed_values(model: type[BaseModel], key: str) -> str:
    """Return a description of a key's allowed values, from its JSON Schema."""
    schema = model.model_json_schema(by_alias=True)["properties"][key]
    choice = next(one for one in schema.get("anyOf", [schema]) if one.get("type") != "null")
    if "enum" in choice:
        return "one of " + ", ".join(map(repr, choice["enum"]))
    if choice["type"] in ("integer", "number"):
        what = "a whole number" if choice["type"] == "integer" else "a number"
        limits = {"minimum": "from", "exclusiveMinimum": "above", "maximum": "to"}
        if "exclusiveMinimum" in choice:
            limits["maximum"] = "and at most"
        return " ".join([what, *(f"{word} {choice[k]}" for k, word in limits.items() if k in choice)])
    if choice["type"] == "array":
        return _allowed_list(schema, choice)
    if choice["type"] == "object":
        example = f", such as {json.dumps(schema['examples'][0])}" if "examples" in schema else ""
        return f"a mapping from names to strings{example}"
    if choice["type"] == "boolean":
        return "true or false"
    if choice.get("format") == "ipv4":
        return "an IPv4 address"
    if choice.get("format") == "ipv4network":
        return "a private IPv4 range from /8 to /20"
    if "examples" in schema:
        return f"a string such as '{schema['examples'][0]}'"
    return f"a string that matches {choice['pattern']}" if "pattern" in choice else "a string"


def _allowed_list(schema: Mapping[str, Any], choice: Mapping[str, Any]) -> str:
    items = choice["items"]
    what = ", ".join(items["enum"]) if "enum" in items else "strings"
    either = " or 'all'" if {"const": "all"} in schema.get("anyOf", []) else ""
    example = f" such as {schema['examples'][0]}" if "examples" in schema else ""
    return f"a list of {what}{either}{example}"


def _suggestion(key: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(key, known, n=1)
    return f"did you mean '{close[0]}'?" if close else f"the known keys are {', '.join(sorted(known))}"
