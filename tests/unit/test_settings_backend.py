"""Rules for the configuration of the backend, the image registry and the developer tools."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from settings.backend import ImagesSettings
from settings.ports import published_ports
from tests.unit.mistakes import (
    NOT_SET,
    InvalidConfiguration,
    Rule,
    assert_refused,
    default,
    expected_entry,
    parsed,
    refused_keys,
)

MIRRORS = """a mapping from names to strings, such as {"docker.io": "harbor.example.com/dockerhub"}"""
PORT = "a whole number from 1 to 65535"

LIMITS = [
    InvalidConfiguration(
        "a port beyond the last",
        {"devTools": '{"redisCommander": {"port": 65536}}'},
        expected_entry(
            "devTools.redisCommander.port",
            value="65536",
            must_be=PORT,
            default=default("8081", "RedisCommanderSettings"),
        ),
    ),
    InvalidConfiguration(
        "too small a heap for Kafka UI",
        {"devTools": '{"kafkaUi": {"heapMib": 127}}'},
        expected_entry(
            "devTools.kafkaUi.heapMib",
            value="127",
            must_be="a whole number from 128",
            default=default("192", "KafkaUiSettings"),
        ),
    ),
]

CHOICES = [
    InvalidConfiguration(
        "an unknown backend",
        {"backend": '{"kind": "podman"}'},
        expected_entry(
            "backend.kind",
            value="'podman'",
            must_be="one of 'docker', 'kubernetes'",
            default=default("docker", "BackendSettings"),
        ),
    ),
    InvalidConfiguration(
        "an engine without a scheme",
        {"backend": '{"host": "localhost:2375"}'},
        expected_entry(
            "backend.host",
            value="'localhost:2375'",
            must_be="a string such as 'unix:///var/run/docker.sock'",
            default=default("none", "BackendSettings"),
        ),
    ),
    InvalidConfiguration(
        "an engine without an address",
        {"backend": '{"host": "tcp://"}'},
        expected_entry(
            "backend.host",
            value="'tcp://'",
            must_be="a string such as 'unix:///var/run/docker.sock'",
            default=default("none", "BackendSettings"),
        ),
    ),
    *(
        InvalidConfiguration(
            f"{case} as the bind address",
            {"backend": json.dumps({"bindAddress": address})},
            expected_entry(
                "backend.bindAddress",
                value=repr(address) if address else "null",
                must_be="an IPv4 address",
                default=default("127.0.0.1", "BackendSettings"),
            ),
        )
        for case, address in [
            ("a name", "localhost"),
            ("an IPv6 address", "::1"),
            ("a number beyond 255", "127.0.0.256"),
            ("nothing", None),
        ]
    ),
    InvalidConfiguration(
        "credentials from nowhere",
        {"credentials": "vault"},
        expected_entry(
            "credentials",
            value="'vault'",
            must_be="one of 'generated', 'well-known'",
            default=default("generated", "Settings"),
        ),
    ),
    InvalidConfiguration(
        "passwords everyone knows on every address",
        {"credentials": "well-known", "backend": '{"bindAddress": "10.0.0.1"}'},
        expected_entry(
            "credentials",
            value="'well-known'",
            problem="backend.bindAddress publishes the ports beyond this machine",
            fix="'pti-calendar:credentials' generated",
            default=default("generated", "Settings"),
        ),
    ),
    InvalidConfiguration(
        "every address without the one people use",
        {"backend": '{"bindAddress": "0.0.0.0"}'},
        expected_entry(
            "backend.publishedHost",
            value=NOT_SET,
            problem="is required, as bindAddress 0.0.0.0",
            fix="'pti-calendar:backend.publishedHost' HOST",
            default=default("none", "BackendSettings"),
        ),
    ),
    InvalidConfiguration(
        "a number as the bind address",
        {"backend": '{"bindAddress": 0}'},
        expected_entry(
            "backend.bindAddress",
            value="0",
            must_be="an IPv4 address",
            default=default("127.0.0.1", "BackendSettings"),
        ),
    ),
    *(
        InvalidConfiguration(
            f"a mirror {case}",
            {"images": json.dumps({"mirrors": mirrors})},
            expected_entry(
                "images.mirrors", value=repr(wrong), must_be=MIRRORS, default=default("{}", "ImagesSettings")
            ),
        )
        for case, wrong, mirrors in [
            ("with a scheme", "https://a.example", {"docker.io": "https://a.example"}),
            ("that ends in a slash", "a.example/mirror/", {"docker.io": "a.example/mirror/"}),
            ("in upper case", "A.example", {"docker.io": "A.example"}),
            ("without a name", "", {"docker.io": ""}),
            ("of a registry with a scheme", "https://docker.io", {"https://docker.io": "a.example"}),
            ("of a namespace without its registry", "library", {"library": "a.example"}),
        ]
    ),
    InvalidConfiguration(
        "a login that isn't an address",
        {"devTools": '{"pgAdmin": {"email": "admin"}}'},
        expected_entry(
            "devTools.pgAdmin.email",
            value="'admin'",
            must_be=r"a string such as 'admin@pti-calendar.fr'",
            default=default("admin@pti-calendar.fr", "PgAdminSettings"),
        ),
    ),
]

HOST_PORT = ("has no effect on Kubernetes: a cluster doesn't bind host ports", "pulumi config rm")
ONE_REPLICA = ("one replica of each workload", "pulumi config set", " 1")
NO_SCALING = ("one replica of each workload", "pulumi config rm")
KUBERNETES_SETTINGS = {"kubernetes": {"kubeconfig": "~/.kube/config", "context": "production"}}
UNSUPPORTED: list[tuple[str, dict[str, Any], dict[str, Rule]]] = [
    (
        "a cluster without a way to it",
        {"backend": {"kind": "kubernetes"}},
        {
            "kubernetes.kubeconfig": "is required with backend.kind 'kubernetes'",
            "kubernetes.context": "is required with backend.kind 'kubernetes'",
        },
    ),
    (
        "an engine's address for a cluster",
        {"backend": {"kind": "kubernetes", "host": "ssh://engine", "bindAddress": "127.0.0.1"}, **KUBERNETES_SETTINGS},
        {
            "backend.host": ("has no effect with kind 'kubernetes'", "pulumi config rm"),
            "backend.bindAddress": ("has no effect with kind 'kubernetes'", "pulumi config rm"),
        },
    ),
    (
        "a laptop's ways in a cluster",
        {
            "backend": {"kind": "kubernetes"},
            **KUBERNETES_SETTINGS,
            "credentials": "well-known",
            "services": {"deploy": ["user"], "local": ["user"]},
            "gateway": {"enabled": True},
            "devTools": {"enabled": True},
        },
        {
            "credentials": ("is not supported on Kubernetes: other people can reach a cluster", "generated"),
            "services.local": ("a cluster can't reach a developer's machine", "pulumi config rm"),
            "devTools.enabled": ("is not supported on Kubernetes", "false"),
        },
    ),
    (
        "ports of a host in a cluster",
        {
            "backend": {"kind": "kubernetes"},
            **KUBERNETES_SETTINGS,
            "postgres": {"port": 5433},
            "redis": {"port": 6380},
            "kafka": {"port": 9093, "zookeeper": {"port": 2182}},
            "gateway": {"enabled": True, "kong": {"proxyPort": 1, "tlsPort": 2, "adminPort": 3}},
        },
        {
            "postgres.port": HOST_PORT,
            "redis.port": HOST_PORT,
            "kafka.port": HOST_PORT,
            "kafka.zookeeper.port": HOST_PORT,
            "gateway.kong.proxyPort": HOST_PORT,
            "gateway.kong.tlsPort": HOST_PORT,
            "gateway.kong.adminPort": HOST_PORT,
        },
    ),
    (
        "a cluster on Docker",
        KUBERNETES_SETTINGS,
        {"kubernetes": ("has no effect with backend.kind 'docker'", "pulumi config rm")},
    ),
    (
        "what only a cluster has",
        {
            "postgres": {"mode": "cloudnativepg"},
            "kafka": {"mode": "kraft", "brokers": 3},
            "edge": {"kind": "ingress"},
            "gateway": {"enabled": True, "tls": {"source": "secret"}},
        },
        {
            "postgres.mode": ("CloudNativePG needs Kubernetes", "single"),
            "kafka.brokers": ONE_REPLICA,
            "edge.kind": ("Ingress and Gateway API need Kubernetes", "nginx"),
            "gateway.tls.source": ("Secrets need Kubernetes", "self-signed"),
        },
    ),
    (
        "a load balancer on Docker",
        {"gateway": {"enabled": True}, "edge": {"nginx": {"loadBalancer": {"sourceRanges": ["192.0.2.0/24"]}}}},
        {"edge.nginx.loadBalancer": ("an engine binds public ports on its host", "pulumi config rm")},
    ),
    (
        "several copies on Docker",
        {
            "services": {"replicas": 2, "overrides": {"rdv": {"replicas": 3}}},
            "frontends": {"replicas": 2, "overrides": {"clientPwa": {"replicas": 3}}},
            "gateway": {"enabled": True, "kong": {"replicas": 2}},
            "edge": {"nginx": {"replicas": 2}},
        },
        {
            "gateway.kong.replicas": ONE_REPLICA,
            "edge.nginx.replicas": ONE_REPLICA,
            "services.replicas": ONE_REPLICA,
            "services.overrides.rdv.replicas": ONE_REPLICA,
            "frontends.replicas": ONE_REPLICA,
            "frontends.overrides.clientPwa.replicas": ONE_REPLICA,
        },
    ),
    (
        "scaling on Docker",
        {"services": {"scaling": {}, "overrides": {"rdv": {"scaling": {}}}}, "frontends": {"scaling": {}}},
        {
            "services.scaling": NO_SCALING,
            "services.overrides.rdv.scaling": NO_SCALING,
            "frontends.scaling": NO_SCALING,
        },
    ),
]

INVALID_CONFIGURATIONS = [*LIMITS, *CHOICES]


@pytest.mark.parametrize("invalid", INVALID_CONFIGURATIONS, ids=lambda invalid: invalid.description)
def test_one_mistake_gets_one_entry(invalid: InvalidConfiguration) -> None:
    invalid.check()


@pytest.mark.parametrize(
    ("mirrors", "image", "pulled"),
    [
        ({"docker.io": "harbor.example/hub"}, "redis:8", "harbor.example/hub/library/redis:8"),
        ({"docker.io": "harbor.example/hub"}, "docker.io/redis:8", "harbor.example/hub/library/redis:8"),
        ({"docker.io": "harbor.example/hub"}, "prom/prometheus:v3", "harbor.example/hub/prom/prometheus:v3"),
        ({"docker.io/library": "m.example", "docker.io": "n.example"}, "redis@sha256:ab", "m.example/redis@sha256:ab"),
        ({"docker.io/library/redis": "m.example/valkey"}, "redis:8", "m.example/valkey:8"),
        ({"docker.io/library/redis": "m.example/valkey"}, "redis-stack:8", "redis-stack:8"),
        ({"docker.io/prom": "m.example"}, "prometheuscommunity/exporter:1", "prometheuscommunity/exporter:1"),
        ({"ghcr.io": "m.example:5000"}, "ghcr.io/a/b:1", "m.example:5000/a/b:1"),
        ({"ghcr.io": "m.example"}, "ghcr.io.example/a:1", "ghcr.io.example/a:1"),
        ({"localhost": "m.example"}, "localhost:5000/a:1", "localhost:5000/a:1"),
        ({"registry:5000": "m.example"}, "registry:5000/a:1", "m.example/a:1"),
    ],
)
def test_the_longest_part_of_an_images_full_name_chooses_its_mirror(
    mirrors: Mapping[str, str], image: str, pulled: str
) -> None:
    assert ImagesSettings(mirrors=mirrors).pulled(image, is_upstream=True) == pulled


def test_a_mirror_of_a_whole_registry_does_not_apply_to_the_images_of_services() -> None:
    images = ImagesSettings(mirrors={"ghcr.io": "m.example", "ghcr.io/pti": "own.example/pti"})
    assert images.pulled("ghcr.io/other/rdv:1", is_upstream=False) == "ghcr.io/other/rdv:1"
    assert images.pulled("ghcr.io/pti/rdv:1", is_upstream=False) == "own.example/pti/rdv:1"


def test_well_known_passwords_are_accepted_on_any_loopback_address() -> None:
    configured = parsed({"credentials": "well-known", "backend": '{"bindAddress": "127.0.0.9"}'})
    assert configured.credentials == "well-known"


def test_ports_may_be_published_anywhere_with_generated_passwords() -> None:
    configured = parsed({"backend": '{"bindAddress": "0.0.0.0", "publishedHost": "engine"}'})
    assert configured.backend.published_address == "engine"


@pytest.mark.parametrize(
    ("configuration", "expected"), [one[1:] for one in UNSUPPORTED], ids=[one[0] for one in UNSUPPORTED]
)
def test_all_unsupported_features_are_reported_together(
    configuration: Mapping[str, Any], expected: Mapping[str, Rule]
) -> None:
    assert_refused(refused_keys(configuration), expected)


def test_tools_are_refused_with_stores_that_they_do_not_support() -> None:
    refused = {"devTools.enabled": ("neither an external Redis nor an encrypted Kafka", "false")}
    tools, password = {"devTools": {"enabled": True}}, {"redisPassword": "hunter2"}
    redis = {"redis": {"mode": "external", "external": {"host": "redis"}}}
    kafka = {"kafka": {"mode": "external", "external": {"bootstrapServers": ["k:1"]}}}
    assert_refused(refused_keys({**tools, **redis, **password}, [*password]), refused)
    assert_refused(refused_keys({**tools, **kafka}), refused)
    plain = {"kafka": {"mode": "external", "external": {"bootstrapServers": ["k:1"], "securityProtocol": "PLAINTEXT"}}}
    assert parsed({**tools, **plain}).dev_tools.enabled


def test_host_ports_are_refused_on_kubernetes() -> None:
    configured = parsed({"backend": {"kind": "kubernetes"}, **KUBERNETES_SETTINGS, "gateway": {"enabled": True}})
    assert list(published_ports(configured)) == []
