"""What a stack's configuration may say of where it runs, where images come from, and the developer's tools."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from tests.unit.mistakes import NOTHING, Bad, default, entry, parsed, refused_keys

REGISTRY = "text such as 'registry.example.com/mirror'"
PORT = "a whole number from 1 to 65535"

LIMITS = [
    Bad(
        "a port beyond the last",
        {"devTools": '{"redisCommander": {"port": 65536}}'},
        entry("devTools.redisCommander.port", given="65536", allowed=PORT, default=default("8081", "RedisCommander")),
    ),
    Bad(
        "too small a heap for Kafka UI",
        {"devTools": '{"kafkaUi": {"heapMib": 127}}'},
        entry(
            "devTools.kafkaUi.heapMib",
            given="127",
            allowed="a whole number from 128",
            default=default("192", "KafkaUi"),
        ),
    ),
]

CHOICES = [
    Bad(
        "a backend there isn't",
        {"backend": '{"kind": "podman"}'},
        entry(
            "backend.kind",
            given="'podman'",
            allowed="one of 'docker', 'kubernetes'",
            default=default("docker", "Backend"),
        ),
    ),
    Bad(
        "an engine without a scheme",
        {"backend": '{"host": "localhost:2375"}'},
        entry(
            "backend.host",
            given="'localhost:2375'",
            allowed="text such as 'unix:///var/run/docker.sock'",
            default=default("none", "Backend"),
        ),
    ),
    Bad(
        "an engine without an address",
        {"backend": '{"host": "tcp://"}'},
        entry(
            "backend.host",
            given="'tcp://'",
            allowed="text such as 'unix:///var/run/docker.sock'",
            default=default("none", "Backend"),
        ),
    ),
    *(
        Bad(
            f"{about} as the bind address",
            {"backend": json.dumps({"bindAddress": address})},
            entry(
                "backend.bindAddress",
                given=repr(address) if address else "null",
                allowed="an IPv4 address",
                default=default("127.0.0.1", "Backend"),
            ),
        )
        for about, address in [
            ("a name", "localhost"),
            ("an IPv6 address", "::1"),
            ("a number beyond 255", "127.0.0.256"),
            ("nothing", None),
        ]
    ),
    Bad(
        "credentials from nowhere",
        {"credentials": "vault"},
        entry(
            "credentials",
            given="'vault'",
            allowed="one of 'generated', 'well-known'",
            default=default("generated", "Settings"),
        ),
    ),
    Bad(
        "passwords everyone knows on every address",
        {"credentials": "well-known", "backend": '{"bindAddress": "10.0.0.1"}'},
        entry(
            "credentials",
            given="'well-known'",
            allowed="'generated', as backend.bindAddress publishes ports beyond this machine; "
            "or a bindAddress on loopback (127.0.0.1)",
            default=default("generated", "Settings"),
        ),
    ),
    Bad(
        "every address without the one people use",
        {"backend": '{"bindAddress": "0.0.0.0"}'},
        entry(
            "backend.publishedHost",
            given=NOTHING,
            allowed="the name or address people use, as bindAddress 0.0.0.0 names none",
            default=default("none", "Backend"),
        ),
    ),
    Bad(
        "a number as the bind address",
        {"backend": '{"bindAddress": 0}'},
        entry(
            "backend.bindAddress",
            given="0",
            allowed="an IPv4 address",
            default=default("127.0.0.1", "Backend"),
        ),
    ),
    *(
        Bad(
            f"a mirror {about}",
            {"images": json.dumps({"registry": registry})},
            entry("images.registry", given=repr(registry), allowed=REGISTRY, default=default("none", "Images")),
        )
        for about, registry in [
            ("with a scheme", "https://registry.example.com"),
            ("that ends in a slash", "registry.example.com/mirror/"),
            ("in upper case", "Registry.example.com"),
            ("without a name", ""),
        ]
    ),
    Bad(
        "a login that isn't an address",
        {"devTools": '{"pgAdmin": {"email": "admin"}}'},
        entry(
            "devTools.pgAdmin.email",
            given="'admin'",
            allowed=r"text such as 'admin@pti-calendar.fr'",
            default=default("admin@pti-calendar.fr", "PgAdmin"),
        ),
    ),
]

A_REASON = "nothing in a cluster, which binds no port of a host: remove it"
ONE_COPY = "1 on Docker, which runs one copy"
NO_SCALING = "nothing on Docker, which runs one copy: remove it"
REACHED = {"kubernetes": {"kubeconfig": "~/.kube/config", "context": "production"}}
OUT_OF_PLACE: list[tuple[str, dict[str, Any], dict[str, str]]] = [
    (
        "a cluster without a way to it",
        {"backend": {"kind": "kubernetes"}},
        {
            "kubernetes.kubeconfig": "the path of a kubeconfig file, as backend.kind is 'kubernetes'",
            "kubernetes.context": "a context of the kubeconfig file, as backend.kind is 'kubernetes'",
        },
    ),
    (
        "an engine's address for a cluster",
        {"backend": {"kind": "kubernetes", "host": "ssh://engine", "bindAddress": "127.0.0.1"}, **REACHED},
        {
            "backend.host": "nothing with kind 'kubernetes': remove it",
            "backend.bindAddress": "nothing with kind 'kubernetes': remove it",
        },
    ),
    (
        "a laptop's ways in a cluster",
        {
            "backend": {"kind": "kubernetes"},
            **REACHED,
            "credentials": "well-known",
            "services": {"deploy": ["user"], "local": ["user"]},
            "gateway": {"enabled": True},
            "devTools": {"enabled": True},
        },
        {
            "credentials": "'generated' in a cluster: well-known credentials are for a laptop",
            "services.local": "nothing in a cluster: it can't reach a developer's machine",
            "devTools.enabled": "false in a cluster: the tools have no accounts of their own",
        },
    ),
    (
        "ports of a host in a cluster",
        {
            "backend": {"kind": "kubernetes"},
            **REACHED,
            "postgres": {"port": 5433},
            "redis": {"port": 6380},
            "kafka": {"port": 9093, "zookeeper": {"port": 2182}},
            "gateway": {"enabled": True, "kong": {"proxyPort": 1, "tlsPort": 2, "adminPort": 3}},
        },
        {
            "postgres.port": A_REASON,
            "redis.port": A_REASON,
            "kafka.port": A_REASON,
            "kafka.zookeeper.port": A_REASON,
            "gateway.kong.proxyPort": A_REASON,
            "gateway.kong.tlsPort": A_REASON,
            "gateway.kong.adminPort": A_REASON,
        },
    ),
    ("a cluster on Docker", REACHED, {"kubernetes": "nothing with backend.kind 'docker': remove it"}),
    (
        "what only a cluster has",
        {
            "postgres": {"mode": "cloudnativepg"},
            "kafka": {"mode": "kraft", "brokers": 3},
            "gateway": {"enabled": True, "edge": "ingress", "tls": {"source": "secret"}},
        },
        {
            "postgres.mode": "'statefulset' or 'external' on Docker: CloudNativePG needs a cluster",
            "kafka.brokers": "1 on Docker: one engine is one place to lose",
            "gateway.edge": "'nginx' on Docker: Ingress and Gateway API need a cluster",
            "gateway.tls.source": "'self-signed' on Docker: Secrets and cert-manager need a cluster",
        },
    ),
    (
        "several copies on Docker",
        {
            "services": {"replicas": 2, "each": {"rdv": {"replicas": 3}}},
            "frontends": {"replicas": 2, "each": {"clientPwa": {"replicas": 3}}},
            "gateway": {"enabled": True, "kong": {"replicas": 2}, "nginx": {"replicas": 2}},
        },
        {
            "gateway.kong.replicas": ONE_COPY,
            "gateway.nginx.replicas": ONE_COPY,
            "services.replicas": ONE_COPY,
            "services.each.rdv.replicas": ONE_COPY,
            "frontends.replicas": ONE_COPY,
            "frontends.each.clientPwa.replicas": ONE_COPY,
        },
    ),
    (
        "scaling on Docker",
        {"services": {"scaling": {}, "each": {"rdv": {"scaling": {}}}}, "frontends": {"scaling": {}}},
        {
            "services.scaling": NO_SCALING,
            "services.each.rdv.scaling": NO_SCALING,
            "frontends.scaling": NO_SCALING,
        },
    ),
]

BAD = [*LIMITS, *CHOICES]


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.about)
def test_one_mistake_gets_one_entry(bad: Bad) -> None:
    bad.check()


def test_well_known_passwords_may_stay_on_any_loopback_address() -> None:
    configured = parsed({"credentials": "well-known", "backend": '{"bindAddress": "127.0.0.9"}'})
    assert configured.credentials == "well-known"


def test_generated_passwords_may_be_published_anywhere() -> None:
    configured = parsed({"backend": '{"bindAddress": "0.0.0.0", "publishedHost": "engine"}'})
    assert configured.backend.reached_at == "engine"


@pytest.mark.parametrize(
    ("configuration", "expected"), [one[1:] for one in OUT_OF_PLACE], ids=[one[0] for one in OUT_OF_PLACE]
)
def test_what_a_backend_can_not_do_is_refused_all_at_once(
    configuration: Mapping[str, Any], expected: Mapping[str, str]
) -> None:
    assert refused_keys(configuration) == expected


def test_the_tools_show_no_store_that_asks_for_more_than_they_know() -> None:
    refused = {"devTools.enabled": "false with an external Redis, or a Kafka that encrypts"}
    tools, password = {"devTools": {"enabled": True}}, {"redisPassword": "hunter2"}
    redis = {"redis": {"mode": "external", "external": {"host": "redis"}}}
    kafka = {"kafka": {"mode": "external", "external": {"bootstrapServers": ["k:1"]}}}
    assert refused_keys({**tools, **redis, **password}, [*password]) == refused
    assert refused_keys({**tools, **kafka}) == refused
    plain = {"kafka": {"mode": "external", "external": {"bootstrapServers": ["k:1"], "securityProtocol": "PLAINTEXT"}}}
    assert parsed({**tools, **plain}).dev_tools.enabled


def test_a_cluster_binds_no_port_of_a_host() -> None:
    configured = parsed({"backend": {"kind": "kubernetes"}, **REACHED, "gateway": {"enabled": True}})
    assert list(configured.published_ports()) == []
