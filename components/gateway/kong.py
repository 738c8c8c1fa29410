"""Kong without a database: its configuration, generated from the table of services, and the workload that runs it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pulumi

from backends.base import Backend
from components.data_layer.access import RedisAccess
from components.microservice import JWT_ALGORITHM, JWT_ISSUER
from settings.gateway import Gateway, RateLimit
from workloads import (
    ENGINE_HOST,
    Endpoint,
    FileSet,
    HttpGet,
    Liveness,
    Metrics,
    Port,
    Probe,
    Scratch,
    TcpConnect,
    Workload,
)

PROXY = Endpoint("kong", 8000)
TLS_PROXY, ADMIN, STATUS = 8443, 8001, 8100

CONFIGURATION = "/etc/kong-declarative"
CERTIFICATE = "/etc/kong-certificate"
PREFIX = "/kong_prefix"
USER = 1000

PRIVATE_RANGES = "10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,100.64.0.0/10,127.0.0.0/8,fc00::/7"
"""Where the edge in front may be: its word for the client's address is taken, nobody else's."""


def api_path(service: str) -> str:
    """What the paths of a service go below."""
    return f"/api/{service}"


@dataclass(frozen=True)
class Upstream:
    """A service that requests are led to."""

    name: str
    port: int
    is_local: bool
    """Whether it runs on the developer's machine."""

    public_paths: tuple[str, ...] = ()
    """Prefixes, below the service's own, that need no token."""

    @property
    def host(self) -> str:
        """Where it answers."""
        return ENGINE_HOST if self.is_local else self.name


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """What Kong's declarative configuration is made from."""

    services: Sequence[Upstream]
    jwt_secret: pulumi.Output[str]
    cors_origins: Sequence[str]
    rate_limit: RateLimit
    max_body_mib: int
    redis: RedisAccess
    redis_password: pulumi.Output[str] | None


def gateway(settings: Gateway, configuration: Configuration, certificate: FileSet, backend: Backend) -> Workload:
    """The workload that runs Kong."""
    kong = settings.kong
    has_local = any(service.is_local for service in configuration.services)
    return Workload(
        name=PROXY.workload,
        image=kong.image,
        user=USER,
        replicas=kong.replicas,
        environment={
            "KONG_DATABASE": "off",
            "KONG_DECLARATIVE_CONFIG": f"{CONFIGURATION}/kong.json",
            "KONG_PREFIX": PREFIX,
            "KONG_PROXY_LISTEN": f"0.0.0.0:{PROXY.port}, 0.0.0.0:{TLS_PROXY} ssl",
            "KONG_ADMIN_LISTEN": f"{backend.operators_listen_at}:{ADMIN}",
            # It would listen on every address.
            "KONG_ADMIN_GUI_LISTEN": "off",
            "KONG_STATUS_LISTEN": f"0.0.0.0:{STATUS}",
            "KONG_SSL_CERT": f"{CERTIFICATE}/tls.crt",
            "KONG_SSL_CERT_KEY": f"{CERTIFICATE}/tls.key",
            # Without these three, every client has the edge's address, and one limit is everybody's.
            "KONG_TRUSTED_IPS": PRIVATE_RANGES,
            "KONG_REAL_IP_HEADER": "X-Forwarded-For",
            "KONG_REAL_IP_RECURSIVE": "on",
            # One per core of the node by default, each with its own memory.
            "KONG_NGINX_WORKER_PROCESSES": "2",
            "KONG_NGINX_HTTP_CLIENT_MAX_BODY_SIZE": f"{settings.max_body_mib}m",
            "KONG_PROXY_ACCESS_LOG": "/dev/stdout",
            "KONG_PROXY_ERROR_LOG": "/dev/stderr",
            "KONG_ADMIN_ACCESS_LOG": "off",
            "KONG_ADMIN_ERROR_LOG": "/dev/stderr",
            "KONG_STATUS_ACCESS_LOG": "off",
            "KONG_ANONYMOUS_REPORTS": "off",
            # It would tell its version, and how long services take.
            "KONG_HEADERS": "off",
        },
        file_sets=(
            FileSet(
                name="configuration",
                directory=CONFIGURATION,
                files={"kong.json": _declarative(configuration)},
                # It holds the key that signs tokens.
                secret=True,
            ),
            certificate,
        ),
        ports=(
            Port(name="proxy", number=PROXY.port, publish=kong.proxy_port),
            Port(name="tls-proxy", number=TLS_PROXY, publish=kong.tls_port),
            Port(name="admin", number=ADMIN, publish=kong.admin_port, operators_only=True),
            Port(name="status", number=STATUS),
        ),
        scratch=(Scratch(path=PREFIX, size_mib=64), Scratch(path="/tmp", size_mib=64)),  # noqa: S108 - a mount of its own
        memory_mib=kong.memory_mib,
        cpu_request=kong.cpu_request,
        readiness=Probe(check=HttpGet(port=STATUS, path="/status/ready")),
        liveness=Liveness(check=TcpConnect(port=STATUS)),
        needs=configuration.redis.server,
        calls=(
            configuration.redis.endpoint,
            *(Endpoint(service.name, service.port) for service in configuration.services if not service.is_local),
        ),
        calls_host=has_local,
        metrics=(Metrics(port=STATUS, job="kong"),),
        stop_grace_s=30,
    )


def _declarative(configuration: Configuration) -> pulumi.Output[str]:
    """The declarative file (https://developer.konghq.com/gateway/entities/), as JSON, which is YAML too."""
    return pulumi.Output.all(configuration.jwt_secret, configuration.redis_password).apply(
        lambda secrets: json.dumps(_document(configuration, *secrets), indent=2)
    )


def _document(configuration: Configuration, jwt_secret: str, redis_password: str | None) -> dict[str, Any]:
    return {
        "_format_version": "3.0",
        "services": [one for upstream in configuration.services for one in _services(upstream)],
        "consumers": [
            {
                "username": JWT_ISSUER,
                "jwt_secrets": [{"key": JWT_ISSUER, "secret": jwt_secret, "algorithm": JWT_ALGORITHM}],
            }
        ],
        "plugins": [
            {"name": "correlation-id", "config": {"header_name": "X-Correlation-ID", "echo_downstream": True}},
            {"name": "prometheus", "config": _all_metrics()},
            # An empty list of origins means any to the plugin; without it, browsers let none in.
            *([{"name": "cors", "config": _cors(configuration.cors_origins)}] if configuration.cors_origins else []),
            {"name": "rate-limiting", "config": _rate_limiting(configuration, redis_password)},
            {"name": "request-size-limiting", "config": {"allowed_payload_size": configuration.max_body_mib}},
        ],
    }


def _services(upstream: Upstream) -> list[dict[str, Any]]:
    """The service behind `/api/<service>/` with a token, and its public paths without one.

    Each public path is a Kong service of its own, whose path is put before what is left of the request's: a longer
    prefix wins, and the service sees the paths it knows either way.
    """
    prefix = api_path(upstream.name)
    guarded = _service(upstream, upstream.name, f"{prefix}/", "/")
    guarded["routes"][0]["plugins"] = [{"name": "jwt", "config": _jwt()}]
    public = [
        _service(upstream, f"{upstream.name}-public-{number}", f"{prefix}{path}", path)
        for number, path in enumerate(upstream.public_paths)
    ]
    return [guarded, *public]


def _service(upstream: Upstream, name: str, path: str, upstream_path: str) -> dict[str, Any]:
    return {
        "name": name,
        "protocol": "http",
        "host": upstream.host,
        "port": upstream.port,
        "path": upstream_path,
        "connect_timeout": 2000,
        "read_timeout": 30000,
        "write_timeout": 30000,
        "retries": 3,
        "routes": [{"name": name, "paths": [path], "strip_path": True}],
    }


def _jwt() -> dict[str, Any]:
    return {
        "key_claim_name": "iss",
        # Left out, an expired token passes.
        "claims_to_verify": ["exp"],
        # A token in an address ends up in logs.
        "uri_param_names": [],
        # A browser's preflight request carries none.
        "run_on_preflight": False,
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
    """Counted in Redis, for all replicas together; a Redis that is away lets requests through."""
    limit, redis = configuration.rate_limit, configuration.redis
    return {
        "minute": limit.per_minute,
        **({"hour": limit.per_hour} if limit.per_hour else {}),
        "limit_by": "ip",
        "policy": "redis",
        "fault_tolerant": True,
        "redis": {
            "host": redis.endpoint.host,
            "port": redis.endpoint.port,
            "ssl": redis.tls,
            "ssl_verify": redis.tls,
            # The name that the certificate has to have.
            **({"server_name": redis.endpoint.host} if redis.tls else {}),
            "timeout": 1000,
            **({"password": password} if password else {}),
        },
    }


def _all_metrics() -> dict[str, bool]:
    """All four groups; they are off by default."""
    groups = ("status_code_metrics", "latency_metrics", "bandwidth_metrics", "upstream_health_metrics")
    return dict.fromkeys(groups, True)
