"""What the settings models share: their base class, their types, and how a contradiction is told.

Every model is frozen and refuses unknown keys. A field's description is its documentation: `docs/configuration.md`
and the JSON Schema are generated from here. Secrets never enter these models (pulumi/pulumi#6531: an object that is
read whole yields its secrets as plain strings); `settings.credentials` names them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from ipaddress import ip_network
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

IMAGE_REFERENCE = re.compile(
    r"(?P<repository>(?:[a-z0-9]+(?:[.-][a-z0-9]+)*(?::\d+)?/)?[a-z0-9]+(?:[._/-]+[a-z0-9]+)*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9._-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)


class Contradictions(ValueError):
    """Settings that don't go together: key (below the section that says so) to what is allowed instead."""

    def __init__(self, allowed: Mapping[str, str]) -> None:
        super().__init__(*allowed.values())
        self.allowed = allowed


def moves(reference: re.Match[str]) -> bool:
    """Whether an image reference may mean another image tomorrow."""
    return reference["digest"] is None and reference["tag"] in (None, "latest")


def _exact_image(value: str) -> str:
    match = IMAGE_REFERENCE.fullmatch(value)
    if not match:
        raise ValueError("an image reference such as 'redis:8.10.1' or 'ghcr.io/owner/name:1.2'")
    if moves(match):
        raise ValueError(
            "an exact tag or a digest ('name:1.2.3', 'name@sha256:…'): a moving tag hides changes from the preview"
        )
    return value


def ipv4_text(value: Any) -> Any:
    """Text, which pydantic may then read as an address; not a number."""
    if not isinstance(value, str):
        raise ValueError("an IPv4 address")
    return value


def _cidr(value: str) -> str:
    try:
        return str(ip_network(value))
    except ValueError:
        raise ValueError("address ranges such as '10.0.0.0/16'") from None


def without_effect(section: Section, names: Iterable[str], *, reason: str) -> dict[str, str]:
    """The fields among `names` that are said although nothing comes of them: key to what is allowed instead."""
    return {to_camel(name): f"nothing {reason}: remove it" for name in names if name in section.model_fields_set}


def switched_off(section: Section) -> dict[str, str]:
    """What to say of a section that is filled in and off because nobody said that it is on."""
    if not section.model_fields_set or "enabled" in section.model_fields_set:
        return {}
    return {"enabled": "true, without which nothing comes of the section; or false, to keep it for later"}


def repository_and_tag(image: str) -> tuple[str, str]:
    """Both parts of an image reference; empty where it has none."""
    match = IMAGE_REFERENCE.fullmatch(image)
    return (match["repository"], match["tag"] or "") if match else ("", "")


Image = Annotated[str, AfterValidator(_exact_image), Field(examples=["redis:8.10.1"])]
HostPort = Annotated[int, Field(ge=1, le=65535)]
HostName = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$")]
DnsLabel = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")]
Cidrs = Annotated[tuple[Annotated[str, AfterValidator(_cidr)], ...], Field(strict=False)]


def selection(known: Sequence[str]) -> Callable[[Any], Any]:
    """Validates a selection of known names, a list or `all`; the order is that of the table."""

    def selected(value: Any) -> Any:
        if value == "all":
            return tuple(known)
        if not isinstance(value, list | tuple) or not {*map(str, value)} <= {*known} or len({*value}) < len(value):
            raise ValueError(f"'all', or a list without repetition of {', '.join(known)}")
        return tuple(name for name in known if name in value)

    return selected


def selection_schema(known: Sequence[str]) -> dict[str, Any]:
    """The JSON Schema of a selection."""
    return {"anyOf": [{"type": "array", "items": {"enum": [*known]}, "uniqueItems": True}, {"const": "all"}]}


class Section(BaseModel):
    """A part of the configuration: frozen, strict about types, camelCase in the file."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, alias_generator=to_camel, validate_by_name=True)
