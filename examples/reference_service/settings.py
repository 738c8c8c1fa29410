"""The service's settings: environment variables, and secrets from files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

SECRETS_OF_SERVICE = {
    "payment": ("STRIPE_SECRET_KEY", "STRIPE_WEBHOOK_SECRET"),
    "notification": ("TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN", "BREVO_API_KEY"),
}
"""Secrets that only one service gets. They aren't used here, but the service refuses to start without them, like a real
one."""

CHOICES = {
    "DATABASE_SSLMODE": ("disable", "require", "verify-full"),
    "KAFKA_SECURITY_PROTOCOL": ("PLAINTEXT", "SSL", "SASL_SSL"),
    "REDIS_TLS": ("false", "true"),
    "FAULT_INJECTION": ("false", "true"),
    "LOG_LEVEL": ("info", "debug", "warning", "error"),
    "JWT_ALGORITHM": ("HS256",),
}
"""Variables with a closed list of values; the first is the default."""


class SettingsError(Exception):
    """The environment has mistakes. The message lists all of them."""


@dataclass(frozen=True, kw_only=True)
class Postgres:
    """The database, and the role to log in as."""

    host: str
    port: int
    name: str
    user: str
    password: str = field(repr=False)
    sslmode: str
    pool_max: int
    """Connections that this process may open."""


@dataclass(frozen=True, kw_only=True)
class Redis:
    """The Redis that all services share."""

    host: str
    port: int
    tls: bool
    password: str | None = field(repr=False)
    """None if Redis requires no password."""


@dataclass(frozen=True, kw_only=True)
class Kafka:
    """The brokers, and the login if they require one."""

    brokers: str
    """`host:port`, comma-separated."""

    security_protocol: str
    username: str | None
    password: str | None = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """How tokens are verified."""

    issuer: str
    algorithm: str
    secret: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything the running service needs."""

    service: str
    version: str
    port: int
    log_level: str
    postgres: Postgres
    redis: Redis
    kafka: Kafka
    tokens: Tokens
    fault_injection: bool


def load(environment: Mapping[str, str]) -> Settings:
    """Return the settings of the running service.

    Raises:
        SettingsError: variables are missing, or have a value that isn't allowed.
    """
    source = Source(environment)
    service = source.text("SERVICE_NAME")
    for name in SECRETS_OF_SERVICE.get(service, ()):
        source.secret(name)
    protocol = source.choice("KAFKA_SECURITY_PROTOCOL")
    with_login = protocol == "SASL_SSL"
    settings = Settings(
        service=service,
        version=environment.get("VERSION", "") or "0",
        port=source.number("PORT"),
        log_level=source.choice("LOG_LEVEL"),
        postgres=_postgres(source),
        redis=Redis(
            host=source.text("REDIS_HOST"),
            port=source.number("REDIS_PORT"),
            tls=source.choice("REDIS_TLS") == "true",
            password=source.optional_secret("REDIS_PASSWORD"),
        ),
        kafka=Kafka(
            brokers=source.text("KAFKA_BROKERS"),
            security_protocol=protocol,
            username=source.text("KAFKA_USERNAME") if with_login else None,
            password=source.secret("KAFKA_PASSWORD") if with_login else None,
        ),
        tokens=Tokens(
            issuer=source.text("JWT_ISSUER"),
            algorithm=source.choice("JWT_ALGORITHM"),
            secret=source.secret("JWT_SECRET"),
        ),
        fault_injection=source.choice("FAULT_INJECTION") == "true",
    )
    source.refuse_mistakes()
    return settings


def load_postgres(environment: Mapping[str, str]) -> Postgres:
    """Return the database settings, which are all that a migration needs.

    Raises:
        SettingsError: variables are missing, or have a value that isn't allowed.
    """
    source = Source(environment)
    postgres = _postgres(source)
    source.refuse_mistakes()
    return postgres


def _postgres(source: Source) -> Postgres:
    return Postgres(
        host=source.text("DATABASE_HOST"),
        port=source.number("DATABASE_PORT"),
        name=source.text("DATABASE_NAME"),
        user=source.text("DATABASE_USER"),
        password=source.secret("DATABASE_PASSWORD"),
        sslmode=source.choice("DATABASE_SSLMODE"),
        pool_max=source.connections("DATABASE_POOL_MAX"),
    )


class Source:
    """Reads variables and collects mistakes, so that one start reports all of them."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._mistakes: list[str] = []

    def text(self, name: str) -> str:
        """Return a required variable."""
        value = self._environment.get(name, "")
        if not value:
            self._mistakes.append(f"{name} is not set")
        return value

    def number(self, name: str) -> int:
        """Return a TCP port."""
        value = self._environment.get(name, "")
        if value.isascii() and value.isdigit() and 0 < int(value) < 65536:
            return int(value)
        self._mistakes.append(f"{name} is {value!r}; allowed is a number from 1 to 65535")
        return 0

    def connections(self, name: str) -> int:
        """Return the maximum number of connections. A migration, which opens one, doesn't get the variable."""
        value = self._environment.get(name, "") or "1"
        if value.isascii() and value.isdigit() and 0 < int(value) < 10_000:
            return int(value)
        self._mistakes.append(f"{name} is {value!r}; allowed is a number from 1 to 9999")
        return 1

    def choice(self, name: str) -> str:
        """Return one of the values in `CHOICES`, case-insensitive."""
        allowed = CHOICES[name]
        value = self._environment.get(name, "") or allowed[0]
        for one in allowed:
            if one.lower() == value.lower():
                return one
        self._mistakes.append(f"{name} is {value!r}; allowed are {', '.join(allowed)}")
        return allowed[0]

    def secret(self, name: str) -> str:
        """Return a required secret."""
        value = self.optional_secret(name)
        if value is None:
            self._mistakes.append(f"{name}_FILE names no file with a value, and {name} is not set")
        return value or ""

    def optional_secret(self, name: str) -> str | None:
        """Return a secret from the file in `<NAME>_FILE`, or else from `<NAME>`. An empty value counts as none."""
        path = self._environment.get(f"{name}_FILE", "")
        if not path:
            return self._environment.get(name, "") or None
        try:
            return Path(path).read_text().rstrip("\n") or None
        except OSError as error:
            self._mistakes.append(f"{name}_FILE: {path} can't be read ({error.strerror})")
            return None

    def refuse_mistakes(self) -> None:
        """Raise `SettingsError` with all mistakes, if there are any."""
        if self._mistakes:
            raise SettingsError("; ".join(self._mistakes))
