"""The typed, versioned outputs of a PTI Calendar stack.

Another Pulumi program reads them through a stack reference:

    stack = pulumi.StackReference("organization/pti-calendar/dev")
    outputs = stack.outputs.apply(StackOutputs.parse)
    host = outputs.apply(lambda outputs: outputs.postgres.host)

A program that only needs public values reads a single output, which then isn't secret:

    postgres = stack.get_output("postgres").apply(PostgresOutput.parse)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Generic, TypeVar

from contract.record import ContractError, Record, Variable, described

CONTRACT_VERSION = 1
"""Increases when an output changes its meaning, type or name, or is removed. A new output doesn't change it."""

HOST_DESCRIPTION = "Host name or address for users and programs outside the platform: of the host, or in the cluster."
PORT_DESCRIPTION = "TCP port on that host."

Secret = TypeVar("Secret")
"""`str` for readers of the outputs, `pulumi.Output[str]` for the program that exports them."""


@dataclass(frozen=True, kw_only=True)
class StoreOutput(Record):
    """Address of a store; some of its fields are variables in a service's environment."""


POOL_MAX = Variable(
    "DATABASE_POOL_MAX", "how many connections one process of the service may have open; the server refuses more"
)


@dataclass(frozen=True, kw_only=True)
class DatabaseOutput(Record):
    """A service's own database."""

    name: str = described("Name of the database.", variable=Variable("DATABASE_NAME", "the service's own database"))
    app_role: str = described(
        "Role the service connects as: reads and writes rows of its tenant, nothing else.",
        variable=Variable("DATABASE_USER", "the service's application role; for migrations, its migrator role"),
    )
    migrator_role: str = described("Role that runs the service's migrations; the owner role owns what they create.")
    pool_max: int = described(
        "Connections that one instance of the service may open.",
        variable=POOL_MAX,
    )


@dataclass(frozen=True, kw_only=True)
class PostgresOutput(StoreOutput):
    """PostgreSQL's address and roles."""

    host: str = described(HOST_DESCRIPTION, variable=Variable("DATABASE_HOST", "PostgreSQL's host name"))
    port: int = described(PORT_DESCRIPTION, variable=Variable("DATABASE_PORT", "PostgreSQL's TCP port"))
    ssl_mode: str = described(
        "How connections are encrypted, as libpq's `sslmode`: `disable`, `require`, `verify-full`.",
        variable=Variable(
            "DATABASE_SSLMODE",
            "as in libpq: `disable`, `require`, `verify-full` (against the image's system certificates)",
        ),
    )
    admin_role: str = described("Superuser that creates databases and roles.")
    backup_role: str = described("Role that reads every row of every tenant, for dumps.")
    databases: Mapping[str, DatabaseOutput] = described(
        "Database of each service, by service name (`user`, `planning`, …)."
    )


@dataclass(frozen=True, kw_only=True)
class RedisOutput(StoreOutput):
    """Redis' address."""

    host: str = described(
        HOST_DESCRIPTION,
        variable=Variable("REDIS_HOST", "Redis' host name. All services share Redis: begin each key with `<service>:`"),
    )
    port: int = described(PORT_DESCRIPTION, variable=Variable("REDIS_PORT", "Redis' TCP port"))
    tls: bool = described("Whether connections are encrypted.", variable=Variable("REDIS_TLS", "`true` or `false`"))


@dataclass(frozen=True, kw_only=True)
class KafkaOutput(StoreOutput):
    """Kafka's address."""

    bootstrap_servers: str = described(
        "`host:port` for clients outside the platform, comma-separated.",
        variable=Variable("KAFKA_BROKERS", "`host:port`, comma-separated"),
    )
    security_protocol: str = described(
        "How clients connect: `PLAINTEXT`, `SSL`, or `SASL_SSL` with SCRAM-SHA-512.",
        variable=Variable("KAFKA_SECURITY_PROTOCOL", "`PLAINTEXT`, `SSL`, or `SASL_SSL` with SCRAM-SHA-512"),
    )
    username: str | None = described(
        "User of `SASL_SSL`; null with another protocol.",
        variable=Variable("KAFKA_USERNAME", "user of `SASL_SSL`; not set with another protocol"),
    )


@dataclass(frozen=True, kw_only=True)
class ToolsOutput(Record):
    """URLs of the web tools; null if the stack runs without them."""

    pg_admin: str | None = described("pgAdmin's address.")
    kafka_ui: str | None = described("Kafka UI's address.")
    redis_commander: str | None = described("Redis Commander's address.")


@dataclass(frozen=True, kw_only=True)
class GatewayOutput(Record):
    """URLs for the platform's users; null and empty if the stack runs without a gateway."""

    api: str | None = described("URL of the API, without a path.")
    services: Mapping[str, str] = described("Base URL of each service's paths, by service name.")
    frontends: Mapping[str, str] = described("URL of each front end, by name.")


@dataclass(frozen=True, kw_only=True)
class MonitoringOutput(Record):
    """URLs of the monitoring servers; null if the stack runs without monitoring."""

    grafana: str | None = described("Grafana's address.")
    prometheus: str | None = described("Prometheus' address.")
    alertmanager: str | None = described("Alertmanager's address.")


@dataclass(frozen=True, kw_only=True)
class CredentialsOutput(Record, Generic[Secret]):
    """The secret values."""

    postgres: Mapping[str, Secret] = described(
        "Password of every PostgreSQL role that may log in, by role.",
        variable=Variable(
            "DATABASE_PASSWORD", "every service", key=lambda postgres, service: postgres.databases[service].app_role
        ),
    )
    redis: Secret | None = described(
        "Redis' password; null if it has none.",
        variable=Variable("REDIS_PASSWORD", "every service, if Redis requires a password"),
    )
    kafka: Secret | None = described(
        "Password of Kafka's user; null if Kafka requires none.",
        variable=Variable("KAFKA_PASSWORD", "every service, if the protocol is `SASL_SSL`"),
    )
    jwt_secret: Secret = described(
        "The key that signs the platform's JWTs.", variable=Variable("JWT_SECRET", "every service")
    )
    pg_admin: Secret | None = described("Password of pgAdmin's user; null if the stack runs without pgAdmin.")
    grafana: Secret | None = described("Password of Grafana's user `admin`; null if the stack runs without Grafana.")
    third_parties: Mapping[str, Secret] = described(
        "Third-party secrets that the stack has, by their variable in a service (`STRIPE_SECRET_KEY`, …)."
    )


@dataclass(frozen=True, kw_only=True)
class StackOutputs(Record, Generic[Secret]):
    """Every output of the stack. `credentials` is marked secret: it is encrypted in the state and shown as [secret]."""

    contract_version: int = described("Version of this contract.")
    postgres: PostgresOutput = described("PostgreSQL.")
    redis: RedisOutput = described("Redis.")
    kafka: KafkaOutput = described("Kafka.")
    tools: ToolsOutput = described("The web tools.")
    gateway: GatewayOutput = described("The gateway.")
    monitoring: MonitoringOutput = described("URLs of the monitoring servers.")
    credentials: CredentialsOutput[Secret] = described("The secret values.", secret=True)

    @property
    def stores(self) -> dict[str, StoreOutput]:
        """The stores, by the names of their outputs."""
        values = {part.name: getattr(self, part.name) for part in fields(self)}
        return {name: value for name, value in values.items() if isinstance(value, StoreOutput)}

    @classmethod
    def parse(cls, outputs: Mapping[str, Any]) -> StackOutputs[str]:  # type: ignore[override]
        """Validate the outputs of a stack, given as plain values, and return them typed.

        Raises:
            ContractError: an output is missing or of another type, or the version isn't supported.
        """
        version = outputs.get("contract_version") if isinstance(outputs, Mapping) else None
        if version != CONTRACT_VERSION:
            stated = "name no version" if version is None else f"are version {version}"
            raise ContractError(
                f"the stack's outputs {stated} of the contract and this code reads version "
                f"{CONTRACT_VERSION}: use the contract folder of the commit from which the stack was deployed"
            )
        return super().parse(outputs)  # type: ignore[return-value]
