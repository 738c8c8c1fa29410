"""Tests of a browser request's components: nginx, the reference front end and service, and Kong in front of them.

They need the servers of `trials.py`: the service uses PostgreSQL, Redis and Kafka, and Kong counts in Redis.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time

from components.assets import asset
from testbed.images.trials import PASSWORD, Trial

SECRET = "a secret that signs tokens for an hour"
TENANT = "5d1c7a52-8f0e-4c55-9d3b-0f3a1f4f2c11"


def token(lifetime_s: int) -> str:
    """Return the tenant's Authorization header, with the given validity (negative: expired)."""

    def part(content: bytes) -> str:
        return base64.urlsafe_b64encode(content).rstrip(b"=").decode()

    claims = {"iss": "pti-calendar", "exp": int(time.time()) + lifetime_s, "tenant_id": TENANT, "sub": "trial"}
    signed = ".".join(part(json.dumps(half).encode()) for half in ({"alg": "HS256", "typ": "JWT"}, claims))
    signature = hmac.new(SECRET.encode(), signed.encode(), hashlib.sha256).digest()
    return f"Authorization: Bearer {signed}.{part(signature)}"


LIMIT = {"year": 2, "limit_by": "ip", "policy": "redis", "redis": {"host": "redis", "password": "secret"}}
"""A year's end is unlikely between two requests of a test."""

KONG = json.dumps(
    {
        "_format_version": "3.0",
        "services": [
            {"name": "user", "host": "service", "port": 4000, "routes": [{"name": "user", "paths": ["/api/user"]}]},
            {
                "name": "user-public",
                "url": "http://service:4000/public",
                "routes": [{"name": "user-public", "paths": ["/api/user/public"]}],
                "plugins": [{"name": "rate-limiting", "config": LIMIT}],
            },
            {"name": "site", "host": "frontend", "port": 8080, "routes": [{"name": "site", "paths": ["/"]}]},
            {"name": "gone", "host": "service", "port": 9, "routes": [{"name": "gone", "paths": ["/gone"]}]},
        ],
        "consumers": [{"username": "pti", "jwt_secrets": [{"key": "pti-calendar", "secret": SECRET}]}],
        "plugins": [
            {"name": "jwt", "service": "user", "config": {"claims_to_verify": ["exp"], "uri_param_names": []}},
            {"name": "correlation-id", "config": {"header_name": "X-Correlation-ID", "echo_downstream": True}},
            {"name": "prometheus", "config": {"status_code_metrics": True, "latency_metrics": True}},
        ],
    }
)

# Kong's image has neither curl nor wget.
ASK_SCRIPT = r"""
exec 3<>"/dev/tcp/127.0.0.1/$1"
printf '%s HTTP/1.0\r\nHost: pti.example\r\n' "$2" >&3
printf '%s\r\n' "${@:3}" '' >&3
cat <&3
"""


def ask(port: int, request: str, *headers: str) -> str:
    """Send a request to the container itself and print the complete response."""
    words = " ".join(f"'{word}'" for word in (str(port), request, *headers))
    return f"bash /ask.sh {words} | tr -d '\\r'"


STUB_STATUS = "server { listen 8081; location = /stub_status { stub_status; } }\n"
FETCH_SCRIPT = "python -c 'import sys, urllib.request as u; print(u.urlopen(sys.argv[1]).read().decode())'"

TRAEFIK = """\
http:
  routers: {all: {rule: PathPrefix(`/`), service: frontend, middlewares: [named]}}
  services: {frontend: {loadBalancer: {servers: [{url: "http://frontend:8080"}]}}}
  middlewares: {named: {headers: {customResponseHeaders: {X-Edge: traefik}}}}
"""

GATEWAY_TRIALS = (
    Trial(
        name="nginx",
        image="nginxinc/nginx-unprivileged:1.30.4",
        user="101:101",
        files={"/etc/nginx/conf.d/status.conf": STUB_STATUS},
        ready="curl -fsS http://localhost:8080/",
        checks=(
            ("curl -s http://localhost:8080/", "Welcome to nginx"),
            ("curl -s http://localhost:8081/stub_status", "Active connections: 1"),
            (
                "nginx -V 2>&1 | tr ' ' '\\n' | grep -xE -- '--with-http_(ssl|v2|realip)_module' | sort | tr '\\n' ' '",
                "realip_module .*ssl_module .*v2_module",
            ),
        ),
    ),
    Trial(
        name="frontend",
        image="pti-calendar/reference-frontend:1.0.0",
        user="101:101",
        environment={"PORT": "8080", "FRONTEND_NAME": "patient", "API_URL": "/api"},
        ready="curl -fsS http://localhost:8080/health",
        checks=(("curl -si http://localhost:8080/any/page", "X-Frontend: patient"),),
    ),
    Trial(
        name="service",
        image="pti-calendar/reference-service:1.0.0",
        user="10001:10001",
        environment={
            "SERVICE_NAME": "user",
            "PORT": "4000",
            "LOG_LEVEL": "info",
            "DATABASE_HOST": "postgres",
            "DATABASE_PORT": "5432",
            "DATABASE_NAME": "app",
            "DATABASE_USER": "postgres",
            "DATABASE_PASSWORD_FILE": "/run/secrets/database",
            "DATABASE_SSLMODE": "disable",
            "REDIS_HOST": "redis",
            "REDIS_PORT": "6379",
            "REDIS_TLS": "false",
            "REDIS_PASSWORD_FILE": "/run/secrets/redis",
            "KAFKA_BROKERS": "kafka:9092",
            "KAFKA_SECURITY_PROTOCOL": "PLAINTEXT",
            "JWT_ISSUER": "pti-calendar",
            "JWT_ALGORITHM": "HS256",
            "JWT_SECRET_FILE": "/run/secrets/jwt",
        },
        files={
            "/run/secrets/database": PASSWORD,
            "/run/secrets/redis": "secret",
            "/run/secrets/jwt": SECRET,
        },
        ready=f"{FETCH_SCRIPT} http://localhost:4000/health",
        checks=(
            (f"{FETCH_SCRIPT} http://localhost:4000/public/info", '"version": ?"1.0.0"'),
            (f"{FETCH_SCRIPT} http://localhost:4000/metrics", "pti_appointments_created_total"),
        ),
    ),
    Trial(
        name="kong",
        image="kong:3.9.3",
        user="1000:1000",
        scratch=("/tmp", "/kong_prefix"),  # noqa: S108 - a path in the container
        environment={
            "KONG_DATABASE": "off",
            "KONG_DECLARATIVE_CONFIG": "/kong/kong.json",
            "KONG_PREFIX": "/kong_prefix",
            "KONG_PROXY_LISTEN": "0.0.0.0:8000, 0.0.0.0:8443 http2 ssl",
            "KONG_ADMIN_LISTEN": "127.0.0.1:8001",
            "KONG_NGINX_ADMIN_ACCESS_BY_LUA_FILE": "/kong/admin_access.lua",
            "KONG_STATUS_LISTEN": "0.0.0.0:8100",
            "KONG_ADMIN_GUI_LISTEN": "off",
            "KONG_NGINX_WORKER_PROCESSES": "2",
        },
        files={
            "/kong/kong.json": KONG,
            "/kong/admin_access.lua": asset("kong/admin_access.lua"),
            "/kong/wrong.json": '{"_format_version": "3.0", "services": [{"name": "a", "hots": "b"}]}',
            "/ask.sh": ASK_SCRIPT,
        },
        ready=f"kong health && {ask(8100, 'GET /status/ready')} | grep -q ' 200 '",
        checks=(
            ("kong config parse /kong/kong.json", "parse successful"),
            ("{ kong config parse /kong/wrong.json || echo refused; } 2>&1", "(?s)hots: unknown field.*refused"),
            (ask(8000, "GET /"), "(?s) 200 OK.*X-Frontend: patient"),
            (ask(8000, "GET /api/user/events"), '(?s) 401 .*"message":"Unauthorized"'),
            (ask(8000, "GET /api/user/events", token(-1)), '(?s) 401 .*"exp":"token expired"'),
            (ask(8000, "GET /api/user/events", token(3600)), "(?s) 200 OK.*X-Correlation-Id: "),
            (
                f"for i in 1 2 3; do {ask(8000, 'GET /api/user/public/info')}; done",
                '(?s) 200 OK.*"version".* 200 OK.* 429 .*"API rate limit exceeded"',
            ),
            (ask(8000, "GET /gone"), " 502 "),
            (ask(8001, "GET /services"), '"name":"user"'),
            (ask(8100, "GET /metrics"), r'kong_http_requests_total\{code="429".*service="user-public",source="kong"'),
        ),
    ),
    Trial(
        name="traefik",
        image="traefik:v3.7.13",
        user="65532:65532",
        scratch=(),
        command=("--ping", "--entrypoints.web.address=:8000", "--providers.file.filename=/routes.yaml"),
        files={"/routes.yaml": TRAEFIK},
        ready="traefik healthcheck --ping",
        checks=(
            ("traefik version", r"Version: +3\.7\.13"),
            ("wget -qO - http://127.0.0.1:8000/", "(?i)patient"),
            ("wget -qSO - http://127.0.0.1:8000/elsewhere 2>&1", "X-Edge: traefik"),
        ),
    ),
)
