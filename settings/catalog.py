"""The applications of the platform: the tables that databases, roles, routes, policies and documentation follow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class ThirdPartySecret:
    """A secret of a provider's, which a person supplies."""

    key: str
    """Top-level configuration key."""

    purpose: str
    """What it opens."""


@dataclass(frozen=True)
class Service:
    """One microservice and the database that belongs to it alone."""

    name: str
    """Short name: `user` is run as the User Service."""

    port: int
    """TCP port it listens on."""

    secrets: tuple[ThirdPartySecret, ...] = ()
    """Secrets that it alone gets. With any, it may open connections to public addresses over TLS."""

    @property
    def database(self) -> str:
        """Its database, and the prefix of its three roles."""
        return f"pti_{self.name}"

    def role(self, kind: Literal["app", "migrator"]) -> str:
        """A PostgreSQL role of its own: the one it runs as, or that of its migrations."""
        return f"{self.database}_{kind}"


@dataclass(frozen=True)
class Frontend:
    """One web application."""

    name: str
    port: int
    """TCP port it listens on."""

    subdomain: str
    """Label before the platform's domain under which users reach it."""


SERVICES = (
    Service("user", 4000),
    Service("planning", 4001),
    Service("rdv", 4002),
    Service(
        "payment",
        4003,
        (
            ThirdPartySecret("stripeSecretKey", "Stripe's API: the secret key"),
            ThirdPartySecret("stripeWebhookSecret", "the signature of Stripe's webhooks"),
        ),
    ),
    Service(
        "notification",
        4004,
        (
            ThirdPartySecret("twilioAccountSid", "Twilio's API: the account"),
            ThirdPartySecret("twilioAuthToken", "Twilio's API: the token"),
            ThirdPartySecret("brevoApiKey", "Brevo's API: the key"),
        ),
    ),
    Service("admin", 4005),
    Service("audit", 4006),
)

FRONTENDS = (
    Frontend("client-pwa", 3000, "app"),
    Frontend("pro-webapp", 3001, "pro"),
    Frontend("admin-webapp", 3002, "admin"),
    Frontend("callcenter-webapp", 3003, "callcenter"),
)

API_SUBDOMAIN = "api"
