"""The workload that runs Kong without a database."""

from __future__ import annotations

from backends.base import Backend
from components.assets import asset
from components.gateway import limits, timeouts
from components.gateway.declaration import Configuration, declarative_file
from settings.gateway import GatewaySettings, RateLimitSettings
from workloads import Endpoint, FileSet, HttpGet, Liveness, Metrics, Port, Probe, Scratch, Service

PROXY = Endpoint("kong", 8000)
TLS_PROXY_PORT, ADMIN_PORT, STATUS_PORT = 8443, 8001, 8100

CONFIGURATION_DIRECTORY = "/etc/kong-declarative"
CERTIFICATE_DIRECTORY = "/etc/kong-certificate"
PREFIX_DIRECTORY = "/kong_prefix"
UID = 1000

PRIVATE_RANGES = "10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,100.64.0.0/10,127.0.0.0/8,fc00::/7"
"""Addresses of the edge. Kong trusts the client address only if it comes from there."""


def gateway(
    settings: GatewaySettings, configuration: Configuration, certificate: FileSet, backend: Backend, *, admin_api: bool
) -> Service:
    """Return the workload that runs Kong, with its Admin API if `admin_api`."""
    kong = settings.kong
    has_local = any(service.host_gateway for service in configuration.services)
    return Service(
        name=PROXY.workload,
        image=kong.image,
        user=UID,
        replicas=kong.replicas,
        environment={
            "KONG_DATABASE": "off",
            "KONG_DECLARATIVE_CONFIG": f"{CONFIGURATION_DIRECTORY}/kong.json",
            "KONG_PREFIX": PREFIX_DIRECTORY,
            "KONG_PROXY_LISTEN": f"0.0.0.0:{PROXY.port}, 0.0.0.0:{TLS_PROXY_PORT} ssl",
            "KONG_STATUS_LISTEN": f"0.0.0.0:{STATUS_PORT}",
            **_admin_api_settings(backend if admin_api else None),
            "KONG_SSL_CERT": f"{CERTIFICATE_DIRECTORY}/tls.crt",
            "KONG_SSL_CERT_KEY": f"{CERTIFICATE_DIRECTORY}/tls.key",
            # Without these three variables, every client has the edge's address, and all clients share one limit.
            "KONG_TRUSTED_IPS": PRIVATE_RANGES,
            "KONG_REAL_IP_HEADER": "X-Forwarded-For",
            "KONG_REAL_IP_RECURSIVE": "on",
            # By default, Kong starts one worker per core of the node, each with its own memory.
            "KONG_NGINX_WORKER_PROCESSES": "2",
            **_dns_settings(),
            **_request_limits(settings),
            **_client_limits(settings.rate_limit),
            "KONG_PROXY_ACCESS_LOG": "/dev/stdout",
            "KONG_PROXY_ERROR_LOG": "/dev/stderr",
            "KONG_ADMIN_ACCESS_LOG": "off",
            "KONG_ADMIN_ERROR_LOG": "/dev/stderr",
            "KONG_STATUS_ACCESS_LOG": "off",
            "KONG_ANONYMOUS_REPORTS": "off",
            # By default, headers show Kong's version and the services' latency.
            "KONG_HEADERS": "off",
        },
        file_sets=(
            FileSet(
                name="configuration",
                directory=CONFIGURATION_DIRECTORY,
                files={
                    "kong.json": declarative_file(configuration),
                    **({"admin_access.lua": asset("kong/admin_access.lua")} if admin_api else {}),
                },
                # The file contains the key that signs tokens.
                secret=True,
            ),
            certificate,
        ),
        ports=(
            Port(name="proxy", number=PROXY.port, publish=kong.proxy_port),
            Port(name="tls-proxy", number=TLS_PROXY_PORT, publish=kong.tls_port),
            *([Port(name="admin", number=ADMIN_PORT, publish=kong.admin_port, admin_only=True)] if admin_api else []),
            Port(name="status", number=STATUS_PORT),
        ),
        scratch=(Scratch(path=PREFIX_DIRECTORY, size_mib=64), Scratch(path="/tmp", size_mib=64)),  # noqa: S108 - a mount of its own
        memory_mib=kong.memory_mib,
        cpu_request=kong.cpu_request,
        readiness=Probe(check=HttpGet(port=STATUS_PORT, path="/status/ready")),
        # The kernel accepts connections even for a hung process. Kong's own Helm chart uses the same page.
        liveness=Liveness(check=HttpGet(port=STATUS_PORT, path="/status")),
        depends_on=configuration.redis.depends_on,
        connects_to=(
            *configuration.redis.connects_to,
            *(Endpoint(service.name, service.port) for service in configuration.services if not service.host_gateway),
        ),
        host_gateway=has_local,
        metrics=(Metrics(port=STATUS_PORT, job="kong"),),
        stop_grace_s=30,
    )


def _admin_api_settings(backend: Backend | None) -> dict[str, str]:
    """Return the variables of the Admin API: off, or restricted to reads by `assets/kong/admin_access.lua`.

    Even without a database, Kong itself accepts `POST /config`, shows keys and passwords, and allows every web origin.
    """
    # By default, the web page listens on every address.
    common = {"KONG_ADMIN_GUI_LISTEN": "off"}
    if backend is None:
        return common | {"KONG_ADMIN_LISTEN": "off"}
    return common | {
        "KONG_ADMIN_LISTEN": f"{backend.addressing.admin_bind_address}:{ADMIN_PORT}",
        "KONG_NGINX_ADMIN_ACCESS_BY_LUA_FILE": f"{CONFIGURATION_DIRECTORY}/admin_access.lua",
        # Kong's CORS headers allow only this origin, instead of the request's.
        "KONG_ADMIN_GUI_URL": f"http://localhost:{ADMIN_PORT}",
    }


def _dns_settings() -> dict[str, str]:
    """Return Kong's DNS settings: address records only, and no stale ones.

    By default, Kong queries SRV records first, which reach an external DNS server. Docker's responses have a TTL of 600
    s, in which another container may get the address."""
    return {
        "KONG_DNS_ORDER": "LAST,A,CNAME",
        "KONG_DNS_VALID_TTL": "5",
        "KONG_DNS_STALE_TTL": "0",
        "KONG_DNS_NOT_FOUND_TTL": "1",
    }


def _request_limits(settings: GatewaySettings) -> dict[str, str]:
    """Return the limits of one request."""
    return {
        "KONG_NGINX_HTTP_CLIENT_MAX_BODY_SIZE": f"{settings.max_body_mib}m",
        "KONG_NGINX_HTTP_LARGE_CLIENT_HEADER_BUFFERS": f"{limits.HEADER_BUFFERS} {limits.HEADER_BUFFER_KIB}k",
        "KONG_NGINX_PROXY_PROXY_BUFFER_SIZE": f"{limits.RESPONSE_HEADERS_KIB}k",
        "KONG_NGINX_PROXY_PROXY_BUFFERS": f"{limits.RESPONSE_BUFFERS} {limits.RESPONSE_BUFFER_KIB}k",
        "KONG_NGINX_PROXY_PROXY_BUSY_BUFFERS_SIZE": f"{limits.RESPONSE_HEADERS_KIB}k",
        # Responses to slow clients aren't buffered in files: the prefix is in memory, and a full one truncates
        # responses.
        "KONG_NGINX_PROXY_PROXY_MAX_TEMP_FILE_SIZE": "0",
        "KONG_NGINX_PROXY_PROXY_NEXT_UPSTREAM_TIMEOUT": f"{timeouts.RETRY_WITHIN_S}s",
        "KONG_NGINX_PROXY_CLIENT_HEADER_TIMEOUT": f"{timeouts.KONG_CLIENT_TIMEOUT_S}s",
        "KONG_NGINX_PROXY_CLIENT_BODY_TIMEOUT": f"{timeouts.KONG_CLIENT_TIMEOUT_S}s",
        "KONG_NGINX_PROXY_SEND_TIMEOUT": f"{timeouts.KONG_CLIENT_TIMEOUT_S}s",
    }


def _client_limits(rate: RateLimitSettings) -> dict[str, str]:
    """Return the limits per client and replica, which apply before the token is verified and without Redis.

    The plugin `rate-limiting` runs after `jwt`, doesn't count requests refused there, and lets all requests pass while
    Redis is unavailable. These limits apply in addition. They are never stricter: a client may use two windows in
    immediate succession.
    """
    return {
        "KONG_NGINX_HTTP_LIMIT_REQ_ZONE": f"$binary_remote_addr zone=rate:{limits.CLIENT_TABLE_MIB}m "
        f"rate={rate.per_minute}r/m",
        "KONG_NGINX_HTTP_LIMIT_CONN_ZONE": f"$binary_remote_addr zone=connections:{limits.CLIENT_TABLE_MIB}m",
        "KONG_NGINX_PROXY_LIMIT_REQ": f"zone=rate burst={2 * rate.per_minute} nodelay",
        "KONG_NGINX_PROXY_LIMIT_REQ_STATUS": "429",
        "KONG_NGINX_PROXY_LIMIT_CONN": f"connections {limits.CONNECTIONS_PER_CLIENT}",
        "KONG_NGINX_PROXY_LIMIT_CONN_STATUS": "429",
        # These limits answer in Kong's own format and with its CORS headers.
        "KONG_NGINX_PROXY_ERROR_PAGE": "429 /kong_error_handler",
    }
