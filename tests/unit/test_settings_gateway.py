"""Rules for the configuration of the gateway."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from tests.unit.mistakes import Rule, assert_refused, parsed, refused_keys

CLUSTER = {"backend": {"kind": "kubernetes"}, "kubernetes": {"kubeconfig": "~/.kube/config", "context": "production"}}
REMOVE_FIX = "pulumi config rm"

INVALID_CONFIGURATIONS: list[tuple[str, dict[str, Any], dict[str, Rule]]] = [
    (
        "cert-manager without an issuer",
        {"tls": {"source": "cert-manager"}},
        {"tls.issuer": ("is required with the source 'cert-manager'", "ISSUER")},
    ),
    (
        "an issuer that isn't used",
        {"tls": {"issuer": "letsencrypt"}},
        {"tls.issuer": ("has no effect with the source 'self-signed'", REMOVE_FIX)},
    ),
    (
        "a Secret that isn't used",
        {"tls": {"source": "self-signed", "secretName": "mine"}},
        {"tls.secretName": ("has no effect with the source 'self-signed'", REMOVE_FIX)},
    ),
    (
        "the kind of no issuer",
        {"tls": {"source": "secret", "issuerKind": "Issuer"}},
        {"tls.issuerKind": ("has no effect with the source 'secret'", REMOVE_FIX)},
    ),
    (
        "fewer requests an hour than a minute",
        {"rateLimit": {"perMinute": 100, "perHour": 99}},
        {"rateLimit.perHour": ("is lower than perMinute (100)", " 100")},
    ),
    ("a domain in upper case", {"domain": "PTI.fr"}, {"domain": "a string such as 'pti-calendar.fr'"}),
    (
        "an origin with a path",
        {"corsOrigins": ["https://app.pti-calendar.fr/"]},
        {"corsOrigins": "a list of strings such as ['https://app.pti-calendar.fr']"},
    ),
    (
        "every origin",
        {"corsOrigins": ["*"]},
        {"corsOrigins": "a list of strings such as ['https://app.pti-calendar.fr']"},
    ),
]


INVALID_EDGES: list[tuple[str, dict[str, Any], dict[str, Rule]]] = [
    (
        "nginx together with an Ingress",
        {"kind": "ingress", "nginx": {"memoryMib": 100}},
        {"nginx": ("has no effect with the kind 'ingress'", REMOVE_FIX)},
    ),
    (
        "an Ingress together with nginx",
        {"ingress": {"className": "traefik"}},
        {"ingress": ("has no effect with the kind 'nginx'", REMOVE_FIX)},
    ),
    (
        "routes without a Gateway",
        {"kind": "gateway-api"},
        {"gatewayApi.gateway": ("is required with the kind 'gateway-api'", "GATEWAY")},
    ),
    (
        "an Ingress with a Gateway",
        {"kind": "ingress", "gatewayApi": {"gateway": "public"}},
        {"gatewayApi": ("has no effect with the kind 'ingress'", REMOVE_FIX)},
    ),
    (
        "routes with an Ingress' annotations",
        {"kind": "gateway-api", "gatewayApi": {"gateway": "public"}, "ingress": {"annotations": {"a": "b"}}},
        {"ingress": ("has no effect with the kind 'gateway-api'", REMOVE_FIX)},
    ),
    (
        "a controller's namespace with nginx",
        {"controllerNamespace": "traefik"},
        {"controllerNamespace": ("has no effect with the kind 'nginx'", REMOVE_FIX)},
    ),
    (
        "routes on the listener without TLS too",
        {"kind": "gateway-api", "gatewayApi": {"gateway": "public", "httpListener": "http"}},
        {"gatewayApi.httpsListener": "must name a listener other than httpListener (http)"},
    ),
    (
        "a listener that leads to itself",
        {"kind": "gateway-api", "gatewayApi": {"gateway": "public", "httpsListener": "web", "httpListener": "web"}},
        {"gatewayApi.httpsListener": "must name a listener other than httpListener (web)"},
    ),
    (
        "one port for HTTP and HTTPS",
        {"nginx": {"httpPort": 443}},
        {"nginx.httpsPort": "is the same as httpPort (443)"},
    ),
    ("an unknown edge", {"kind": "haproxy"}, {"kind": "one of 'nginx', 'ingress', 'gateway-api'"}),
]


@pytest.mark.parametrize(
    ("gateway", "expected"), [one[1:] for one in INVALID_CONFIGURATIONS], ids=[one[0] for one in INVALID_CONFIGURATIONS]
)
def test_a_contradiction_is_refused(gateway: Mapping[str, Any], expected: Mapping[str, Rule]) -> None:
    found = refused_keys({**CLUSTER, "gateway": {"enabled": True, **gateway}})
    assert_refused(found, {f"gateway.{key}": rule for key, rule in expected.items()})


@pytest.mark.parametrize(
    ("edge", "expected"), [one[1:] for one in INVALID_EDGES], ids=[one[0] for one in INVALID_EDGES]
)
def test_a_conflict_of_the_edge_is_refused(edge: Mapping[str, Any], expected: Mapping[str, Rule]) -> None:
    found = refused_keys({**CLUSTER, "gateway": {"enabled": True}, "edge": edge})
    assert_refused(found, {f"edge.{key}": rule for key, rule in expected.items()})


def test_edge_settings_require_gateway_enabled_to_be_set() -> None:
    rule = ("is not set, although the section edge has settings", "true", "or false")
    assert_refused(refused_keys({"edge": {"nginx": {"replicas": 1}}}), {"gateway.enabled": rule})
    parsed({"edge": {"nginx": {"replicas": 1}}, "gateway": {"enabled": False}})
    parsed({"edge": {}})


def test_an_admin_port_without_the_admin_api_is_refused() -> None:
    stack = {"credentials": "generated", "gateway": {"enabled": True, "kong": {"adminPort": 9001}}}
    rule = ("has no effect without the admin API (gateway.kong.adminApi)", REMOVE_FIX)
    assert_refused(refused_keys(stack), {"gateway.kong.adminPort": rule})


@pytest.mark.parametrize("host", ["10.0.0.7", "192.168.1.1"])
def test_redis_over_tls_needs_a_host_name_if_kong_uses_it(host: str) -> None:
    redis = {"mode": "external", "external": {"host": host}}
    secrets = {"redisPassword": "hunter2"}
    (key,) = refused_keys({"gateway": {"enabled": True}, "redis": redis, **secrets}, [*secrets])
    assert key == "redis.external.host"
    assert parsed({"redis": redis, **secrets}, [*secrets]).redis.external.host == host
    plain = {"mode": "external", "external": {"host": host, "tls": False}}
    stack = {"gateway": {"enabled": True}, "redis": plain, **secrets}
    assert parsed(stack, [*secrets]).redis.external.host == host


def test_host_names_are_subdomains_of_the_domain() -> None:
    assert parsed({"gateway": {"enabled": True, "domain": "example.org"}}).gateway.host("api") == "api.example.org"


def test_equal_limits_per_hour_and_minute_are_accepted() -> None:
    limit = parsed({"gateway": {"enabled": True, "rateLimit": {"perMinute": 100, "perHour": 100}}}).gateway.rate_limit
    assert (limit.per_minute, limit.per_hour) == (100, 100)


@pytest.mark.parametrize(
    "tls", [{"source": "self-signed"}, {"source": "secret"}, {"source": "cert-manager", "issuer": "letsencrypt"}]
)
def test_a_cluster_accepts_every_certificate_source(tls: Mapping[str, Any]) -> None:
    assert parsed({**CLUSTER, "gateway": {"enabled": True, "tls": tls}}).gateway.tls.source == tls["source"]


@pytest.mark.parametrize("section", ["gateway", "devTools"])
def test_a_configured_section_requires_enabled(section: str) -> None:
    sections: dict[str, dict[str, Any]] = {
        "gateway": {"domain": "pti.fr"},
        "devTools": {"kafkaUi": {"port": 8090}},
    }
    filled = sections[section]
    rule = ("is not set, although the section has other settings", "true", "or false")
    assert_refused(refused_keys({section: filled}), {f"{section}.enabled": rule})
    parsed({section: {"enabled": False, **filled}})
    parsed({section: {}})
