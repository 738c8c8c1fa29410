"""Catalog of the applications. Databases, roles, routes, network policies and documentation are derived from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class ThirdPartySecret:
    """A secret that a third party issues and an operator supplies."""

    key: str
    """Top-level configuration key."""

    purpose: str
    """What the secret gives access to."""


@dataclass(frozen=True)
class ServiceSpec:
    """One microservice and its own database."""

    name: str
    """Short name: `user` belongs to the User Service."""

    port: int
    """TCP port it listens on."""

    secrets: tuple[ThirdPartySecret, ...] = ()
    """Secrets that only this service gets. A service with such secrets may connect to public addresses over TLS."""

    @property
    def database(self) -> str:
        """Return the name of its database, which is also the prefix of its three roles."""
        return f"pti_{self.name}"

    def role(self, kind: Literal["app", "migrator"]) -> str:
        """Return one of its PostgreSQL roles: the one it runs as, or the one of its migrations."""
        return f"{self.database}_{kind}"


@dataclass(frozen=True)
class FrontendSpec:
    """One web application."""

    name: str
    port: int
    """TCP port it listens on."""

    subdomain: str
    """Subdomain of the platform's domain at which users reach it."""


SERVICES = (
    ServiceSpec("user", 4000),
    ServiceSpec("planning", 4001),
    ServiceSpec("rdv", 4002),
    ServiceSpec(
        "payment",
        4003,
        (
            ThirdPartySecret("stripeSecretKey", "Stripe's API: the secret key"),
            ThirdPartySecret("stripeWebhookSecret", "the signature of Stripe's webhooks"),
        ),
    ),
    ServiceSpec(
        "notification",
        4004,
        (
            ThirdPartySecret("twilioAccountSid", "Twilio's API: the account"),
            ThirdPartySecret("twilioAuthToken", "Twilio's API: the token"),
            ThirdPartySecret("brevoApiKey", "Brevo's API: the key"),
        ),
    ),
    ServiceSpec("admin", 4005),
    ServiceSpec("audit", 4006),
)

FRONTENDS = (
    FrontendSpec("client-pwa", 3000, "app"),
    FrontendSpec("pro-webapp", 3001, "pro"),
    FrontendSpec("admin-webapp", 3002, "admin"),
    FrontendSpec("callcenter-webapp", 3003, "callcenter"),
)

API_SUBDOMAIN = "api"
