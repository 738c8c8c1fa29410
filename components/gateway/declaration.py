"""Kong's declarative file, generated from the table of services.

Its entities: https://developer.konghq.com/gateway/entities/. It is written as JSON, which is also YAML.
tests/gateway/kong_behaviour.yaml records Kong's behaviour with it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pulumi

from components.gateway import timeouts
from components.stores.redis import RedisStore
from contract.environment import TOKENS
from settings.applications import INTERNAL_PATHS
from settings.gateway import RateLimitSettings

INTERNAL_ROUTE = "internal"
"""Name of the route that returns 404 for internal paths."""

PUBLIC_SUFFIX = ".public-"
"""Suffix of the Kong services of public paths: `user.public-0` is the first public path of `user`. Workload names have
no dots; Prometheus drops the part after the dot."""


def api_path(service: str) -> str:
    """Return the path under which a service's paths are available."""
    return f"/api/{service}"


@dataclass(frozen=True)
class Upstream:
    """A service that Kong routes to."""

    name: str
    port: int
    host_gateway: str | None = None
    """Host name of the developer's machine, if the service runs there."""

    public_paths: tuple[str, ...] = ()
    """Paths below the service's own that need no token; each includes everything below it."""

    @property
    def host(self) -> str:
        """The host name that Kong resolves."""
        return self.host_gateway or self.name


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """Input of Kong's declarative configuration."""

    services: Sequence[Upstream]
    jwt_secret: pulumi.Output[str]
    cors_origins: Sequence[str]
    rate_limit: RateLimitSettings
    redis: RedisStore


def declarative_file(configuration: Configuration) -> pulumi.Output[str]:
    """Return the text of the declarative file."""
    return pulumi.Output.all(configuration.jwt_secret, configuration.redis.secret).apply(
        lambda secrets: json.dumps(document(configuration, *secrets), indent=2)
    )


def document(configuration: Configuration, jwt_secret: str, redis_password: str | None) -> dict[str, Any]:
    """Return the declarative file as data."""
    return {
        "_format_version": "3.0",
        "services": [one for upstream in configuration.services for one in _services(upstream)],
        "routes": [_internal_paths_route()],
        "consumers": [
            {
                "username": TOKENS.issuer,
                "jwt_secrets": [{"key": TOKENS.issuer, "secret": jwt_secret, "algorithm": TOKENS.algorithm}],
            }
        ],
        "plugins": [
            {"name": "correlation-id", "config": {"header_name": "X-Correlation-ID", "echo_downstream": True}},
            {"name": "prometheus", "config": _all_metrics()},
            # The plugin treats an empty list of origins as "any"; without the plugin, browsers allow none.
            *([{"name": "cors", "config": _cors(configuration.cors_origins)}] if configuration.cors_origins else []),
            {"name": "rate-limiting", "config": _rate_limiting(configuration, redis_password)},
        ],
    }


def _services(upstream: Upstream) -> list[dict[str, Any]]:
    """Return the Kong services of `/api/<service>/`, which needs a token, and of its public paths, which don't.

    Each public path is a separate Kong service, whose path is prepended to the rest of the request's path, so that the
    service receives the same paths either way.
    """
    prefix = api_path(upstream.name)
    authenticated = _service(upstream, upstream.name, [f"{prefix}/"], "/")
    authenticated["routes"][0]["plugins"] = [{"name": "jwt", "config": _jwt()}]
    public = [
        _service(upstream, f"{upstream.name}{PUBLIC_SUFFIX}{number}", _public_paths(prefix, path), path)
        for number, path in enumerate(upstream.public_paths)
    ]
    return [authenticated, *public]


def _public_paths(prefix: str, path: str) -> list[str]:
    """Match the path and everything below it. A prefix would also open `/auth/loginx` with `/auth/login`."""
    if path.endswith("/"):
        return [f"{prefix}{path}"]
    exact = f"{prefix}{path}".replace(".", r"\.")
    return [f"~{exact}$", f"{prefix}{path}/"]


def _service(upstream: Upstream, name: str, paths: Sequence[str], upstream_path: str) -> dict[str, Any]:
    return {
        "name": name,
        "protocol": "http",
        "host": upstream.host,
        "port": upstream.port,
        "path": upstream_path,
        "connect_timeout": timeouts.CONNECT_TIMEOUT_S * 1000,
        "read_timeout": timeouts.KONG_RESPONSE_S * 1000,
        "write_timeout": timeouts.KONG_RESPONSE_S * 1000,
        "retries": timeouts.RETRIES,
        # Request bodies are streamed: otherwise Kong would buffer bodies above 8 KiB in files below its prefix, which
        # is in memory.
        "routes": [{"name": name, "paths": [*paths], "strip_path": True, "request_buffering": False}],
    }


def _internal_paths_route() -> dict[str, Any]:
    """Return the route that blocks the internal paths of every service in every spelling, with or without a token.

    Kong normalises `//`, `/./`, `..` and needless escapes before it matches. The expression covers variations that Kong
    keeps and some servers ignore: letter case, `;parameters`, dots, spaces, empty segments. An encoded slash or
    backslash is refused everywhere, because only the service would decode it. The expression has no look-around: Kong's
    router has none.
    """
    dropped = r"(?:[^a-z0-9%;]|%(?:[01][0-9a-f]|20|2e|3b|7f)|;[^/]*/)*"
    names = "|".join(INTERNAL_PATHS)
    return {
        "name": INTERNAL_ROUTE,
        "paths": [f"~/api/[^/]+/(?i:{dropped}(?:{names}))(?:[^A-Za-z0-9_-]|$)", "~/api/.*%(?:2[Ff]|5[Cc])"],
        # This priority precedes that of any public path, which is an expression, too.
        "regex_priority": 1,
        "plugins": [
            {
                "name": "request-termination",
                "config": {"status_code": 404, "message": "no Route matched with those values"},
            }
        ],
    }


def _jwt() -> dict[str, Any]:
    return {
        "key_claim_name": "iss",
        # Without this claim, an expired token is accepted.
        "claims_to_verify": ["exp"],
        # A token in a URL would be logged.
        "uri_param_names": [],
        # The plugin `cors` answers a browser's preflight request before this one runs. Any other OPTIONS request
        # would reach the service without a token.
        "run_on_preflight": True,
    }


def _cors(origins: Sequence[str]) -> dict[str, Any]:
    return {
        "origins": list(origins),
        "methods": ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"],
        "headers": ["Authorization", "Content-Type", "X-Correlation-ID"],
        "exposed_headers": ["X-Correlation-ID", "RateLimit-Remaining", "RateLimit-Reset", "Retry-After"],
        "credentials": True,
        "max_age": 600,
    }


def _rate_limiting(configuration: Configuration, password: str | None) -> dict[str, Any]:
    """Return the plugin that counts in Redis, for all replicas together; if Redis is unavailable, requests pass."""
    limit, redis = configuration.rate_limit, configuration.redis.internal
    return {
        "minute": limit.per_minute,
        **({"hour": limit.per_hour} if limit.per_hour else {}),
        "limit_by": "ip",
        "policy": "redis",
        "fault_tolerant": True,
        "redis": {
            "host": redis.host,
            "port": redis.port,
            "ssl": redis.tls,
            "ssl_verify": redis.tls,
            # The certificate must contain this name. Kong refuses an IP address, and settings/consistency.py refuses it
            # earlier.
            **({"server_name": redis.host} if redis.tls else {}),
            "timeout": timeouts.REDIS_TIMEOUT_MS,
            **({"password": password} if password else {}),
        },
    }


def _all_metrics() -> dict[str, bool]:
    """Enable all four metric groups, which are off by default."""
    groups = ("status_code_metrics", "latency_metrics", "bandwidth_metrics", "upstream_health_metrics")
    return dict.fromkeys(groups, True)
