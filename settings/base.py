"""What the settings models share: their base class, their types, and conflicts between settings.

Every model is frozen and refuses unknown keys. A field's description is its documentation: `docs/configuration.md`
and the JSON Schema are generated from here. Secrets never enter these models (pulumi/pulumi#6531: an object that is
read whole yields its secrets as plain strings); `settings.credentials` names them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic.alias_generators import to_camel

from settings.scalars import as_typed

NAMESPACE = "pti-calendar"
"""Pulumi's namespace of the configuration keys."""

IMAGE_REFERENCE_PATTERN = re.compile(
    r"(?P<repository>(?:[a-z0-9]+(?:[.-][a-z0-9]+)*(?::\d+)?/)?[a-z0-9]+(?:[._/-]+[a-z0-9]+)*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9._-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)


REMOVE_COMMAND = "pulumi config rm --path '{key}'"
"""Fix for a key that must be removed. `{key}` stands for the full key."""


@dataclass(frozen=True)
class Conflict:
    """Why a value is refused, and how to correct it."""

    problem: str
    """Completes the sentence that begins with the key: "is required with the mode 'external'"."""

    fix: str
    """What to do; `{key}` in it stands for the full key."""


class SettingsConflict(ValueError):
    """Settings that contradict each other: key, relative to the section that raises this, to the conflict."""

    def __init__(self, conflicts: Mapping[str, Conflict]) -> None:
        super().__init__(*(one.problem for one in conflicts.values()))
        self.conflicts = conflicts


def set_command(value: str) -> str:
    """Return the command that sets the key of a conflict."""
    return f"pulumi config set --path '{{key}}' {value}"


def for_stack(message: str, stack: str | None) -> str:
    """Return the message with the stack in its `pulumi config` commands; a fresh clone has no selected stack."""
    return message if stack is None else re.sub(r"(pulumi config (?:set|rm)) ", rf"\1 -s {stack} ", message)


def is_mutable_tag(reference: re.Match[str]) -> bool:
    """Return whether an image reference may refer to another image later."""
    return reference["digest"] is None and reference["tag"] in (None, "latest")


def _check_image(value: str) -> str:
    match = IMAGE_REFERENCE_PATTERN.fullmatch(value)
    if not match:
        raise ValueError("an image reference such as 'redis:8.10.1' or 'ghcr.io/owner/name:1.2'")
    if is_mutable_tag(match):
        raise ValueError(
            "an exact tag or a digest ('name:1.2.3', 'name@sha256:…'): a mutable tag hides changes from previews"
        )
    return value


def ipv4_text(value: Any) -> Any:
    """Refuse a number, which pydantic would accept as an address."""
    if not isinstance(value, str):
        raise ValueError("an IPv4 address")
    return value


def _check_cidr(value: str) -> str:
    try:
        return str(ip_network(value))
    except ValueError:
        raise ValueError("address ranges such as '10.0.0.0/16'") from None


def unused_keys(section: Section, names: Iterable[str], *, reason: str) -> dict[str, Conflict]:
    """Return a conflict for each field among `names` that is set, although it has no effect."""
    conflict = Conflict(f"has no effect {reason}", REMOVE_COMMAND)
    return {to_camel(name): conflict for name in names if name in section.model_fields_set}


def missing_enabled_key(section: Section) -> dict[str, Conflict]:
    """Return a conflict if a section has settings but doesn't set `enabled`."""
    if not section.model_fields_set or "enabled" in section.model_fields_set:
        return {}
    problem = "is not set, although the section has other settings"
    return {"enabled": Conflict(problem, f"{set_command('true')} (or false, to keep the settings for later)")}


def repository_and_tag(image: str) -> tuple[str, str]:
    """Return both parts of an image reference; a missing part is empty."""
    match = IMAGE_REFERENCE_PATTERN.fullmatch(image)
    return (match["repository"], match["tag"] or "") if match else ("", "")


Image = Annotated[str, AfterValidator(_check_image), Field(examples=["redis:8.10.1"])]
HostPort = Annotated[int, Field(ge=1, le=65535)]
HostName = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$")]
DnsLabel = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")]
Cidrs = Annotated[tuple[Annotated[str, AfterValidator(_check_cidr)], ...], Field(strict=False)]


def selection(known: Sequence[str]) -> Callable[[Any], Any]:
    """Return a validator for `all` or a list of known names. The result has the order of `known`."""

    def selected(value: Any) -> Any:
        if value == "all":
            return tuple(known)
        if not isinstance(value, list | tuple) or not {*map(str, value)} <= {*known} or len({*value}) < len(value):
            raise ValueError(f"'all', or a list without duplicates of {', '.join(known)}")
        return tuple(name for name in known if name in value)

    return selected


def selection_schema(known: Sequence[str]) -> dict[str, Any]:
    """Return the JSON Schema of a selection."""
    return {"anyOf": [{"type": "array", "items": {"enum": [*known]}, "uniqueItems": True}, {"const": "all"}]}


class Section(BaseModel):
    """A part of the configuration: frozen, strict about types, camelCase in the file."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, alias_generator=to_camel, validate_by_name=True)

    @field_validator("*", mode="before")
    @classmethod
    def _typed(cls, value: Any, info: ValidationInfo) -> Any:
        return as_typed(value, cls.model_fields[info.field_name or ""].annotation)
