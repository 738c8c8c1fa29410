"""A credential: its names, and the source of its value."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Credential:
    """One secret value: its configuration key, its variable in an environment file, its well-known value."""

    key: str
    """Top-level configuration key: `pulumi config set --secret pti-calendar:<key>` supplies the value."""

    variable: str
    """Name in an environment file, for the rendered stack."""

    well_known: str | None
    """Value that is used if `credentials` is `well-known`; None means no password."""

    purpose: str
    """What the credential gives access to."""

    is_pem: bool = False
    """Whether the value is a PEM text, which has several lines."""

    third_party: bool = False
    """Whether a third party issues it, so that it can't be generated."""
