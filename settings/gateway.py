"""The API gateway: Kong, its limits, and the certificate of all host names."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from settings.base import (
    Conflict,
    DnsLabel,
    HostName,
    HostPort,
    Image,
    Section,
    SettingsConflict,
    missing_enabled_key,
    set_command,
    unused_keys,
)

Origin = Annotated[str, Field(pattern=r"^https?://[a-z0-9.-]+(:\d+)?$")]


class TlsSettings(Section):
    """Source of the certificate for all host names."""

    source: Literal["self-signed", "secret", "cert-manager"] = Field(
        "self-signed",
        description="`self-signed`: created by the stack, for tests; browsers don't trust it. `secret`: an existing "
        "Secret of the namespace (Kubernetes). `cert-manager`: issued and renewed by cert-manager (Kubernetes).",
    )
    secret_name: DnsLabel = Field(
        "pti-calendar-tls",
        examples=["pti-calendar-tls"],
        description="Name of the Secret, with the keys `tls.crt` and `tls.key`.",
    )
    issuer: str | None = Field(
        None, min_length=1, examples=["letsencrypt"], description="cert-manager's issuer. Required with `cert-manager`."
    )
    issuer_kind: Literal["ClusterIssuer", "Issuer"] = Field("ClusterIssuer", description="Kind of the issuer.")

    @model_validator(mode="after")
    def _check_consistency(self) -> Self:
        found = {}
        if self.source == "cert-manager" and self.issuer is None:
            found["issuer"] = Conflict("is required with the source 'cert-manager'", set_command("ISSUER"))
        if self.source != "cert-manager":
            named = ["issuer_kind", *(["issuer"] if self.issuer is not None else [])]
            found |= unused_keys(self, named, reason=f"with the source '{self.source}'")
        if self.source == "self-signed":
            found |= unused_keys(self, ["secret_name"], reason="with the source 'self-signed'")
        if found:
            raise SettingsConflict(found)
        return self


class RateLimitSettings(Section):
    """Rate limits per client. Redis counts the requests for all replicas of Kong."""

    per_minute: int = Field(600, ge=1, description="Requests per minute per client address.")
    per_hour: int | None = Field(
        None, ge=1, examples=[10000], description="Requests per hour per client address. Default: no limit."
    )

    @model_validator(mode="after")
    def _check_consistency(self) -> Self:
        # Kong wouldn't start with a lower limit per hour than per minute.
        if self.per_hour is not None and self.per_hour < self.per_minute:
            problem = f"is lower than perMinute ({self.per_minute})"
            raise SettingsConflict({"perHour": Conflict(problem, set_command(f"{self.per_minute} (or more)"))})
        return self


class KongSettings(Section):
    """Kong, the API gateway."""

    image: Image = Field("kong:3.9.3", description="Image, Kong 3.9.")
    proxy_port: HostPort = Field(8000, description="Host port of the proxy (Docker).")
    tls_port: HostPort = Field(8443, description="Host port of the TLS proxy (Docker).")
    admin_api: bool | None = Field(
        None,
        examples=[True],
        description="Whether the admin API runs; it is read-only and shows no secrets. Default: only with the "
        "credentials `well-known`.",
    )
    admin_port: HostPort = Field(8001, description="Host port of the admin API (Docker).")
    replicas: int = Field(1, ge=1, le=100, description="Number of replicas.")
    memory_mib: int = Field(512, ge=256, description="Memory limit in MiB.")
    cpu_request: float = Field(0.1, gt=0, le=64, description="CPU request in cores.")


class GatewaySettings(Section):
    """The API gateway."""

    enabled: bool = Field(False, description="Whether the gateway runs: Kong, and the edge in front of it.")
    domain: HostName = Field(
        "pti-calendar.localhost",
        examples=["pti-calendar.fr"],
        description="Domain of the front ends' and the API's host names.",
    )
    cors_origins: tuple[Origin, ...] | None = Field(
        None,
        strict=False,
        examples=[["https://app.pti-calendar.fr"]],
        description="Web origins that may call the API (CORS). Default: those of the front ends.",
    )
    max_body_mib: int = Field(10, ge=1, le=1024, description="Largest request body, in MiB.")
    tls: TlsSettings = Field(default_factory=TlsSettings, description="The certificate.")
    rate_limit: RateLimitSettings = Field(default_factory=RateLimitSettings, description="Rate limits per client.")
    kong: KongSettings = Field(default_factory=KongSettings, description="Kong.")

    @model_validator(mode="after")
    def _check_consistency(self) -> Self:
        if found := missing_enabled_key(self):
            raise SettingsConflict(found)
        return self

    def host(self, subdomain: str) -> str:
        """Return a host name in the domain."""
        return f"{subdomain}.{self.domain}"
