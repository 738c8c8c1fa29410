"""Kong's configuration, and the path of users' requests to Kong and the front ends."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from settings.catalog import FRONTENDS, SERVICES
from tests.unit.conftest import FULL_DOCKER
from tests.unit.platform_recording import CLUSTER, RecordedPlatform, RecordPlatform
from workloads import CertificateRequest, EdgeEntry, Endpoint, Route, SharedGateway

HOSTS = ["api", *(one.subdomain for one in FRONTENDS)]
PUBLIC = ["/auth/login", "/v1.0/", "/v1.0/terms"]
USER_WITH_LOGIN = {"deploy": ["user", "rdv"], "overrides": {"user": {"publicPaths": PUBLIC}}}


@pytest.fixture
def full(record_platform: RecordPlatform) -> RecordedPlatform:
    """A configuration that enables everything one Docker engine can run."""
    return record_platform(FULL_DOCKER)


def gateway_configuration(gateway: Mapping[str, Any] | None = None, **others: Any) -> dict[str, Any]:
    """Deploy a stack with a gateway, on Docker by default."""
    known = {} if "backend" in others or "credentials" in others else {"credentials": "well-known"}
    return {**known, "gateway": {"enabled": True, **(gateway or {})}, **others}


def kong_document(platform: RecordedPlatform) -> dict[str, Any]:
    """Return Kong's declarative configuration."""
    found: dict[str, Any] = json.loads(platform.files["kong/configuration"]["kong.json"])
    return found


def upstreams(platform: RecordedPlatform) -> dict[str, dict[str, Any]]:
    """Return Kong's services by name."""
    return {one["name"]: one for one in kong_document(platform)["services"]}


def plugins(platform: RecordedPlatform) -> dict[str, dict[str, Any]]:
    """Return the configuration of the global plugins, by name."""
    return {one["name"]: one["config"] for one in kong_document(platform)["plugins"]}


class TestKong:
    def test_every_service_has_a_route_below_its_name(self, full: RecordedPlatform) -> None:
        routes = {name: (one["host"], one["port"], one["routes"]) for name, one in upstreams(full).items()}
        assert routes.keys() == {service.name for service in SERVICES}
        for service in SERVICES:
            host, port, (route,) = routes[service.name]
            assert (host, port) == (service.name, service.port)
            assert (route["paths"], route["strip_path"]) == ([f"/api/{service.name}/"], True)

    def test_every_route_requires_an_unexpired_token(self, full: RecordedPlatform) -> None:
        for one in upstreams(full).values():
            (route,) = one["routes"]
            (plugin,) = route["plugins"]
            assert plugin["name"] == "jwt"
            assert plugin["config"]["claims_to_verify"] == ["exp"]
            assert plugin["config"]["uri_param_names"] == []
            assert plugin["config"]["run_on_preflight"] is True
            assert plugin["config"]["key_claim_name"] == "iss"

    def test_kong_verifies_tokens_with_the_services_key(self, full: RecordedPlatform) -> None:
        (consumer,) = kong_document(full)["consumers"]
        (key,) = consumer["jwt_secrets"]
        environment = full.workloads["user"].environment
        assert (key["key"], key["algorithm"]) == (environment["JWT_ISSUER"], environment["JWT_ALGORITHM"])
        assert key["secret"] == full.files["user/secrets"]["JWT_SECRET"]

    def test_a_public_path_needs_no_token_and_reaches_the_service_unchanged(
        self, record_platform: RecordPlatform
    ) -> None:
        found = upstreams(record_platform(gateway_configuration(services=USER_WITH_LOGIN)))
        public = {one["path"]: one["routes"][0] for name, one in found.items() if name.startswith("user.public")}
        assert {path: route["paths"] for path, route in public.items()} == {
            "/auth/login": ["~/api/user/auth/login$", "/api/user/auth/login/"],
            "/v1.0/": ["/api/user/v1.0/"],
            "/v1.0/terms": [r"~/api/user/v1\.0/terms$", "/api/user/v1.0/terms/"],
        }
        assert [route for route in public.values() if route.get("plugins")] == []
        assert [plugin["name"] for plugin in found["user"]["routes"][0]["plugins"]] == ["jwt"]
        assert found.keys() == {"user", "user.public-0", "user.public-1", "user.public-2", "rdv"}

    def test_internal_paths_are_blocked_before_every_other_route(self, record_platform: RecordPlatform) -> None:
        document = kong_document(record_platform(gateway_configuration(services=USER_WITH_LOGIN)))
        (route,) = document["routes"]
        (plugin,) = route["plugins"]
        assert (plugin["name"], plugin["config"]["status_code"]) == ("request-termination", 404)
        others = [one for service in document["services"] for one in service["routes"]]
        assert {one.get("regex_priority", 0) < route["regex_priority"] for one in others} == {True}

    def test_bodies_are_not_buffered_in_files(self, full: RecordedPlatform) -> None:
        routes = [route for one in upstreams(full).values() for route in one["routes"]]
        assert {route["request_buffering"] for route in routes} == {False}
        assert full.workloads["kong"].environment["KONG_NGINX_PROXY_PROXY_MAX_TEMP_FILE_SIZE"] == "0"
        nginx = full.files["nginx/configuration"]["nginx.conf"]
        assert "proxy_request_buffering off;" in nginx
        assert "proxy_max_temp_file_size 0;" in nginx

    @pytest.mark.parametrize("body_mib", [1, 1024])
    def test_the_body_limit_does_not_change_memory_or_scratch(
        self, record_platform: RecordPlatform, body_mib: int
    ) -> None:
        workloads = record_platform(gateway_configuration({"maxBodyMib": body_mib})).workloads
        sizes = {name: (workloads[name].memory_mib, workloads[name].scratch) for name in ("kong", "nginx")}
        usual = record_platform(gateway_configuration()).workloads
        assert sizes == {name: (usual[name].memory_mib, usual[name].scratch) for name in sizes}

    def test_no_global_plugin_requires_a_token(self, full: RecordedPlatform) -> None:
        assert plugins(full).keys() == {
            "correlation-id",
            "prometheus",
            "cors",
            "rate-limiting",
        }

    def test_a_local_service_is_reached_on_the_developer_machine(self, record_platform: RecordPlatform) -> None:
        platform = record_platform(gateway_configuration(services={"deploy": ["user", "rdv"], "local": ["rdv"]}))
        hosts = {name: one["host"] for name, one in upstreams(platform).items()}
        assert hosts == {"user": "user", "rdv": "host-gateway"}
        kong = platform.workloads["kong"]
        assert kong.host_gateway
        assert {str(call) for call in kong.connects_to} == {"redis:6379", "user:4000"}

    def test_kong_only_reaches_the_developer_machine_if_a_service_runs_there(self, full: RecordedPlatform) -> None:
        assert not full.workloads["kong"].host_gateway

    def test_only_services_of_the_stack_have_a_route(self, record_platform: RecordPlatform) -> None:
        assert upstreams(record_platform(gateway_configuration(services={"deploy": ["audit"]}))).keys() == {"audit"}

    def test_front_ends_may_call_the_api_from_a_browser(self, full: RecordedPlatform) -> None:
        cors = plugins(full)["cors"]
        assert cors["origins"] == [f"https://{one.subdomain}.pti-calendar.localhost" for one in FRONTENDS]
        assert cors["credentials"] is True
        assert {"Authorization", "Content-Type"} <= {*cors["headers"]}

    def test_the_origins_are_those_of_the_settings(self, record_platform: RecordPlatform) -> None:
        platform = record_platform(gateway_configuration({"corsOrigins": ["http://localhost:3000"]}))
        assert plugins(platform)["cors"]["origins"] == ["http://localhost:3000"]

    def test_without_origins_no_browser_is_allowed(self, record_platform: RecordPlatform) -> None:
        # Kong treats an empty list as "any origin".
        assert "cors" not in plugins(record_platform(gateway_configuration({"corsOrigins": []})))

    def test_requests_are_counted_in_redis_for_all_replicas(self, full: RecordedPlatform) -> None:
        limit = plugins(full)["rate-limiting"]
        assert (limit["policy"], limit["limit_by"], limit["minute"]) == ("redis", "ip", 600)
        assert "hour" not in limit
        assert limit["fault_tolerant"] is True, "without Redis requests pass"
        assert limit["redis"]["timeout"] <= 250, "a silent Redis must not make a request slow"
        assert (limit["redis"]["host"], limit["redis"]["port"], limit["redis"]["ssl"]) == ("redis", 6379, False)
        assert "password" not in limit["redis"]

    def test_the_limits_are_those_of_the_settings(self, record_platform: RecordPlatform) -> None:
        limit = plugins(record_platform(gateway_configuration({"rateLimit": {"perMinute": 60, "perHour": 900}})))[
            "rate-limiting"
        ]
        assert (limit["minute"], limit["hour"]) == (60, 900)

    def test_kong_logs_in_to_redis_if_redis_requires_a_password(self, record_platform: RecordPlatform) -> None:
        platform = record_platform(gateway_configuration(credentials="generated"), {"redisPassword": "hunter2"})
        assert plugins(platform)["rate-limiting"]["redis"]["password"] == "hunter2"

    def test_the_certificate_of_a_managed_redis_is_verified(self, record_platform: RecordPlatform) -> None:
        redis = {"mode": "external", "external": {"host": "redis.example.com", "port": 6380}}
        platform = record_platform(
            gateway_configuration(redis=redis, credentials="generated"), {"redisPassword": "hunter2"}
        )
        connection = plugins(platform)["rate-limiting"]["redis"]
        assert (connection["host"], connection["port"]) == ("redis.example.com", 6380)
        assert (connection["ssl"], connection["ssl_verify"]) == (True, True)
        assert connection["server_name"] == "redis.example.com"
        assert platform.workloads["kong"].depends_on == ()

    def test_all_metrics_of_kong_are_enabled(self, full: RecordedPlatform) -> None:
        assert plugins(full)["prometheus"] == dict.fromkeys(
            ["status_code_metrics", "latency_metrics", "bandwidth_metrics", "upstream_health_metrics"], True
        )
        assert [endpoint.port for endpoint in full.workloads["kong"].metrics] == [8100]

    def test_a_request_keeps_its_correlation_id_through_the_platform(self, full: RecordedPlatform) -> None:
        correlation = plugins(full)["correlation-id"]
        assert (correlation["header_name"], correlation["echo_downstream"]) == ("X-Correlation-ID", True)

    def test_only_kong_refuses_large_bodies(self, record_platform: RecordPlatform) -> None:
        platform = record_platform(gateway_configuration({"maxBodyMib": 25}))
        assert platform.workloads["kong"].environment["KONG_NGINX_HTTP_CLIENT_MAX_BODY_SIZE"] == "25m"
        api = server(platform, "api.pti-calendar.localhost")
        assert "client_max_body_size 0;" in api

    def test_kongs_configuration_contains_the_signing_key_and_is_secret(self, full: RecordedPlatform) -> None:
        assert "kong/configuration" in full.secret_files
        assert [name for name in full.workloads["kong"].environment if "SECRET" in name or "PASSWORD" in name] == []

    def test_the_admin_api_is_read_only_and_for_operators_only(self, full: RecordedPlatform) -> None:
        kong = full.workloads["kong"]
        (admin,) = [port for port in kong.ports if port.admin_only]
        assert (admin.number, admin.publish) == (8001, 8001)
        assert kong.environment["KONG_ADMIN_LISTEN"] == "127.0.0.1:8001"
        script = str(kong.environment["KONG_NGINX_ADMIN_ACCESS_BY_LUA_FILE"])
        assert script.rpartition("/")[2] in full.files["kong/configuration"]
        assert kong.environment["KONG_ADMIN_GUI_LISTEN"] == "off"
        assert [port.name for port in kong.ports if port.public] == []

    def test_generated_credentials_disable_the_admin_api(self, record_platform: RecordPlatform) -> None:
        kong = record_platform(gateway_configuration(credentials="generated")).workloads["kong"]
        assert kong.environment["KONG_ADMIN_LISTEN"] == "off"
        assert [port for port in kong.ports if port.admin_only] == []

    def test_the_admin_api_can_be_enabled(self, record_platform: RecordPlatform) -> None:
        kong = record_platform(gateway_configuration({"kong": {"adminApi": True}}, credentials="generated")).workloads[
            "kong"
        ]
        assert kong.environment["KONG_ADMIN_LISTEN"] == "127.0.0.1:8001"

    def test_kong_only_resolves_addresses_and_caches_them_briefly(self, full: RecordedPlatform) -> None:
        environment = full.workloads["kong"].environment
        assert environment["KONG_DNS_ORDER"] == "LAST,A,CNAME"
        assert (environment["KONG_DNS_VALID_TTL"], environment["KONG_DNS_STALE_TTL"]) == ("5", "0")

    def test_a_client_is_limited_before_its_token_is_verified_and_without_redis(
        self, record_platform: RecordPlatform
    ) -> None:
        environment = (
            record_platform(gateway_configuration({"rateLimit": {"perMinute": 60}})).workloads["kong"].environment
        )
        assert str(environment["KONG_NGINX_HTTP_LIMIT_REQ_ZONE"]).endswith("rate=60r/m")
        assert environment["KONG_NGINX_PROXY_LIMIT_REQ"] == "zone=rate burst=120 nodelay"
        assert environment["KONG_NGINX_PROXY_LIMIT_REQ_STATUS"] == "429"

    def test_kong_uses_the_client_address_that_the_edge_reports(self, full: RecordedPlatform) -> None:
        environment = full.workloads["kong"].environment
        assert environment["KONG_REAL_IP_HEADER"] == "X-Forwarded-For"
        assert environment["KONG_REAL_IP_RECURSIVE"] == "on"
        assert "0.0.0.0/0" not in str(environment["KONG_TRUSTED_IPS"]).split(",")

    def test_no_response_shows_the_version_of_kong(self, full: RecordedPlatform) -> None:
        assert full.workloads["kong"].environment["KONG_HEADERS"] == "off"

    def test_kong_starts_when_redis_is_ready_and_calls_the_services(self, full: RecordedPlatform) -> None:
        kong = full.workloads["kong"]
        assert kong.depends_on == ("redis",)
        services = {Endpoint(service.name, service.port) for service in SERVICES}
        assert {*kong.connects_to} == {Endpoint("redis", 6379), *services}


class TestNginx:
    def test_every_host_is_routed_to_its_workload(self, full: RecordedPlatform) -> None:
        configuration = full.files["nginx/configuration"]["nginx.conf"]
        blocks = configuration.split("server_name ")[1:]
        upstream = {block.split(";")[0]: block.split("set $upstream ")[1].split(";")[0] for block in blocks}
        frontends = {f"{one.subdomain}.pti-calendar.localhost": f"{one.name}:{one.port}" for one in FRONTENDS}
        assert upstream == {"api.pti-calendar.localhost": "kong:8000", **frontends}

    def test_only_front_ends_of_the_stack_have_a_host(self, record_platform: RecordPlatform) -> None:
        configuration = record_platform(gateway_configuration(frontends={"deploy": ["pro-webapp"]})).files[
            "nginx/configuration"
        ]["nginx.conf"]
        assert configuration.count("server_name ") == 2
        assert "server_name pro.pti-calendar.localhost;" in configuration

    def test_users_reach_nginx(self, full: RecordedPlatform) -> None:
        public = {(one.name, port.publish) for one in full.workloads.values() for port in one.ports if port.public}
        assert public == {("nginx", 80), ("nginx", 443)}

    @pytest.mark.parametrize(("port", "shown"), [(443, ""), (8444, ":8444")])
    def test_plain_http_is_redirected_to_the_public_port(
        self, record_platform: RecordPlatform, port: int, shown: str
    ) -> None:
        platform = record_platform(gateway_configuration(edge={"nginx": {"httpsPort": port}}))
        assert f"return 308 https://$host{shown}$request_uri;" in platform.files["nginx/configuration"]["nginx.conf"]

    def test_nginx_connects_to_kong_and_the_front_ends_without_waiting_for_them(self, full: RecordedPlatform) -> None:
        nginx = full.workloads["nginx"]
        assert {str(call) for call in nginx.connects_to} == {
            "kong:8000",
            *(f"{one.name}:{one.port}" for one in FRONTENDS),
        }
        assert nginx.depends_on == ()

    def test_no_placeholder_is_left_in_the_configuration_of_nginx(self, full: RecordedPlatform) -> None:
        configuration = full.files["nginx/configuration"]["nginx.conf"]
        assert "$$" not in configuration
        assert "${" not in configuration

    def test_services_see_the_public_port(self, record_platform: RecordPlatform) -> None:
        api = server(
            record_platform(gateway_configuration(edge={"nginx": {"httpsPort": 8444}})), "api.pti-calendar.localhost"
        )
        assert "proxy_set_header X-Forwarded-Port 8444;" in api

    def test_nginx_limits_each_client(self, full: RecordedPlatform) -> None:
        configuration = full.files["nginx/configuration"]["nginx.conf"]
        for directive in ("limit_req zone=rate", "limit_conn connections"):
            assert directive in configuration


class TestCertificate:
    def test_a_self_signed_certificate_is_mounted_by_nginx_and_kong_as_a_secret(self, full: RecordedPlatform) -> None:
        pair = {"tls.crt": "a certificate", "tls.key": "a private key"}
        for name in ("nginx", "kong"):
            assert full.files[f"{name}/certificate"] == pair
            assert f"{name}/certificate" in full.secret_files

    def test_cert_manager_issues_for_every_host(self, record_platform: RecordPlatform) -> None:
        tls = {"source": "cert-manager", "issuer": "company", "issuerKind": "Issuer", "secretName": "hosts"}
        platform = record_platform(
            gateway_configuration({"tls": tls, "domain": "pti.fr"}, frontends={"deploy": "all"}, **CLUSTER)
        )
        assert platform.certificates == (
            CertificateRequest(
                name="hosts", hosts=tuple(f"{one}.pti.fr" for one in HOSTS), issuer="company", has_shared_issuer=False
            ),
        )
        assert mounted_secrets(platform) == {"nginx": "hosts", "kong": "hosts"}

    def test_an_existing_secret_is_used(self, record_platform: RecordPlatform) -> None:
        platform = record_platform(
            gateway_configuration({"tls": {"source": "secret", "secretName": "wildcard"}}, **CLUSTER)
        )
        assert platform.certificates == ()
        assert mounted_secrets(platform) == {"nginx": "wildcard", "kong": "wildcard"}


def server(platform: RecordedPlatform, host: str) -> str:
    """Return nginx' server block for a host."""
    blocks = platform.files["nginx/configuration"]["nginx.conf"].split("server {")
    (found,) = [block for block in blocks if f"server_name {host};" in block]
    return found


def mounted_secrets(platform: RecordedPlatform) -> dict[str, str]:
    """Map each workload to the externally managed Secret that it mounts."""
    return {
        name: one.external_secret
        for name, it in platform.workloads.items()
        for one in it.file_sets
        if one.external_secret
    }


class TestClusterEdge:
    def test_an_ingress_routes_every_host_to_its_workload(self, record_platform: RecordPlatform) -> None:
        annotations = {"traefik.ingress.kubernetes.io/router.entrypoints": "websecure"}
        ingress = {"className": "traefik", "annotations": annotations}
        edge = {"kind": "ingress", "controllerNamespace": "edge", "ingress": ingress}
        gateway = {"domain": "pti.fr", "tls": {"source": "secret"}}
        platform = record_platform(gateway_configuration(gateway, edge=edge, frontends={"deploy": "all"}, **CLUSTER))
        (exposure,) = platform.exposures
        frontends = [Route(f"{one.subdomain}.pti.fr", Endpoint(one.name, one.port)) for one in FRONTENDS]
        assert exposure.routes == (Route("api.pti.fr", Endpoint("kong", 8000)), *frontends)
        assert exposure.edge_location == "edge"
        entry = EdgeEntry(tls="pti-calendar-tls", controller="traefik", controller_options=annotations)
        assert exposure.through == entry
        assert "nginx" not in platform.workloads

    def test_a_shared_gateway_holds_the_certificate_itself(self, record_platform: RecordPlatform) -> None:
        gateway = {"gateway": "public", "gatewayNamespace": "gateways", "httpsListener": "tls", "httpListener": "web"}
        (exposure,) = record_platform(
            gateway_configuration(edge={"kind": "gateway-api", "gatewayApi": gateway}, **CLUSTER)
        ).exposures
        shared = exposure.through
        assert isinstance(shared, SharedGateway)
        assert (shared.name, shared.location) == ("public", "gateways")
        assert (shared.tls_listener, shared.plain_listener) == ("tls", "web")

    def test_responses_have_the_headers_that_nginx_would_add(
        self, record_platform: RecordPlatform, full: RecordedPlatform
    ) -> None:
        edge = {"kind": "gateway-api", "gatewayApi": {"gateway": "public"}}
        (exposure,) = record_platform(gateway_configuration(edge=edge, **CLUSTER)).exposures
        assert isinstance(exposure.through, SharedGateway)
        nginx = full.files["nginx/configuration"]["nginx.conf"]
        added = {f'add_header {name} "{text}" always;' for name, text in exposure.through.response_headers.items()}
        assert added
        assert {one for one in added if one not in nginx} == set()

    def test_nginx_needs_no_exposure(self, full: RecordedPlatform) -> None:
        assert full.exposures == ()


def test_a_stack_without_a_gateway_has_none_in_its_outputs(record_platform: RecordPlatform) -> None:
    platform = record_platform({"credentials": "well-known", "services": {"deploy": ["user"]}})
    assert platform.workloads.keys().isdisjoint({"kong", "nginx"})
    assert platform.outputs["gateway"] == {"api": None, "services": {}, "frontends": {}}


def test_the_outputs_have_every_public_url(record_platform: RecordPlatform) -> None:
    services = {"deploy": ["user", "rdv"], "local": ["rdv"]}
    found = record_platform(
        gateway_configuration({"domain": "pti.localhost"}, services=services, frontends={"deploy": ["pro-webapp"]})
    ).outputs
    assert found["gateway"] == {
        "api": "https://api.pti.localhost",
        "services": {"user": "https://api.pti.localhost/api/user", "rdv": "https://api.pti.localhost/api/rdv"},
        "frontends": {"pro-webapp": "https://pro.pti.localhost"},
    }
