"""Rules for the configuration of services and front ends."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from settings.applications import AppConfig, ScalingSettings
from settings.catalog import FRONTENDS, SERVICES
from tests.unit.mistakes import (
    HIDDEN_VALUE,
    UNKNOWN,
    InvalidConfiguration,
    assert_refused,
    default,
    expected_entry,
    parsed,
    refused_keys,
)

IMAGE_TEMPLATE = "an image reference with an exact tag; '{name}' in it stands for the application's name"
NAMES = "user, planning, rdv, payment, notification, admin, audit"
SELECTION = f"'all', or a list without duplicates of {NAMES}"
VARIABLES = (
    "variable names of letters, digits and '_' that the platform doesn't set itself "
    "(SERVICE_NAME, PORT, DATABASE_…, REDIS_…, KAFKA_…, JWT_…), each with text"
)
CLUSTER = {"backend": {"kind": "kubernetes"}, "kubernetes": {"kubeconfig": "~/.kube/config", "context": "production"}}
TEXT_MAPPING = """a mapping from names to strings, such as {"LOG_LEVEL": "debug"}"""
MANY_CONNECTIONS = {"postgres": {"maxConnections": 500, "memoryMib": 4096}}
USER, RDV = SERVICES[0], SERVICES[2]

INVALID_CONFIGURATIONS = [
    InvalidConfiguration(
        "an unknown service",
        {"services": {"deploy": ["users"]}},
        expected_entry(
            "services.deploy", value='["users"]', must_be=SELECTION, default=default("()", "ServicesSettings")
        ),
    ),
    InvalidConfiguration(
        "a service twice",
        {"services": {"deploy": ["user", "user"]}},
        expected_entry(
            "services.deploy",
            value='["user", "user"]',
            must_be=SELECTION,
            default=default("()", "ServicesSettings"),
        ),
    ),
    InvalidConfiguration(
        "text that isn't all",
        {"services": {"deploy": "user"}},
        expected_entry("services.deploy", value="'user'", must_be=SELECTION, default=default("()", "ServicesSettings")),
    ),
    InvalidConfiguration(
        "an unknown front end",
        {"frontends": {"deploy": ["pwa"]}},
        expected_entry(
            "frontends.deploy",
            value='["pwa"]',
            must_be="'all', or a list without duplicates of client-pwa, pro-webapp, admin-webapp, callcenter-webapp",
            default=default("()", "FrontendsSettings"),
        ),
    ),
    InvalidConfiguration(
        "a local service that the stack doesn't have",
        {"services": {"deploy": ["user"], "local": ["user", "rdv", "audit"]}, "gateway": {"enabled": True}},
        expected_entry(
            "services.local",
            value='["user", "rdv", "audit"]',
            problem="contains services that services.deploy doesn't contain: rdv, audit",
            fix="add them to pti-calendar:services.deploy",
            default=default("()", "ServicesSettings"),
        ),
    ),
    InvalidConfiguration(
        "a local service that no gateway leads to",
        {"services": {"deploy": ["user"], "local": ["user"]}},
        expected_entry(
            "services.local",
            value='["user"]',
            problem="has no effect without the gateway (gateway.enabled)",
            fix="pulumi config set --path pti-calendar:gateway.enabled true",
            default=default("()", "ServicesSettings"),
        ),
    ),
    InvalidConfiguration(
        "a front end that nothing leads to",
        {"frontends": {"deploy": ["client-pwa"]}},
        expected_entry(
            "frontends.deploy",
            value='["client-pwa"]',
            problem="has no effect without the gateway (gateway.enabled)",
            fix="pulumi config set --path pti-calendar:gateway.enabled true",
            default=default("()", "FrontendsSettings"),
        ),
    ),
    *(
        InvalidConfiguration(
            f"an image of all {case}",
            {"services": {"image": image}},
            expected_entry(
                "services.image",
                value=repr(image),
                must_be=IMAGE_TEMPLATE,
                default=default("pti-calendar/{name}-service:1.0.0", "ServicesSettings"),
            ),
        )
        for case, image in [
            ("without a tag", "pti/{name}"),
            ("with a moving tag", "pti/{name}:latest"),
            ("with another placeholder", "pti/{service}:1"),
        ]
    ),
    InvalidConfiguration(
        "fewer replicas at most than at least",
        {**CLUSTER, "services": {"scaling": {"minReplicas": 4, "maxReplicas": 3}}},
        expected_entry(
            "services.scaling.maxReplicas",
            value="3",
            problem="is lower than minReplicas (4)",
            fix="pulumi config set --path 'pti-calendar:services.scaling.maxReplicas' 4",
            default=default("6", "ScalingSettings"),
        ),
    ),
    InvalidConfiguration(
        "a number of replicas together with scaling",
        {**CLUSTER, "services": {"replicas": 2, "scaling": {}}},
        expected_entry(
            "services.replicas",
            value="2",
            problem="has no effect together with 'scaling'",
            fix="remove one of them",
            default=default("1", "ServicesSettings"),
        ),
    ),
    InvalidConfiguration(
        "a number of replicas together with scaling, of one front end",
        {**CLUSTER, "frontends": {"overrides": {"clientPwa": {"replicas": 2, "scaling": {}}}}},
        expected_entry(
            "frontends.overrides.clientPwa.replicas",
            value="2",
            problem="has no effect together with 'scaling'",
            fix="remove one of them",
            default=default("none", "AppOverrides"),
        ),
    ),
    InvalidConfiguration(
        "a number for scaling",
        {**CLUSTER, "services": {"scaling": 3}},
        expected_entry(
            "services.scaling", value="3", must_be="a section with the keys minReplicas, maxReplicas, cpuPercent"
        ),
    ),
    InvalidConfiguration(
        "a key of scaling with a typing error",
        {**CLUSTER, "services": {"scaling": {"maxReplica": 3}}},
        expected_entry(
            "services.scaling.maxReplica", value=HIDDEN_VALUE, problem=UNKNOWN, fix="did you mean 'maxReplicas'?"
        ),
    ),
    *(
        InvalidConfiguration(
            f"{path} as a public path",
            {"services": {"overrides": {"user": {"publicPaths": [path]}}}},
            expected_entry(
                "services.overrides.user.publicPaths",
                value=repr(path),
                must_be="a list of strings such as ['/auth/login']",
                default=default("()", "ServiceOverrides"),
            ),
        )
        for path in ("/", "//", "auth", "/auth/../admin", "/a b", "/auth/(.*)")
    ),
    *(
        InvalidConfiguration(
            f"a variable {case}",
            {"services": {"environment": {name: "1"}}},
            expected_entry(
                "services.environment",
                value=repr(name),
                must_be=VARIABLES,
                default=default("{}", "ServicesSettings"),
            ),
        )
        for case, name in [
            ("of the platform's", "DATABASE_HOST"),
            ("of the platform's that names a file", "JWT_SECRET_FILE"),
            ("that names the port", "PORT"),
            ("that no shell accepts", "LOG-LEVEL"),
            ("without a name", ""),
        ]
    ),
    InvalidConfiguration(
        "a fraction for a variable, which YAML may have shortened",
        {"services": {"environment": {"RATIO": 1.1}}},
        expected_entry(
            "services.environment.RATIO",
            value="1.1",
            must_be="a string",
            fix="put strings in quotes: pulumi config set --path --type string "
            "'pti-calendar:services.environment.RATIO' 1.1",
        ),
    ),
]


@pytest.mark.parametrize("invalid", INVALID_CONFIGURATIONS, ids=lambda invalid: invalid.description)
def test_one_mistake_gets_one_entry(invalid: InvalidConfiguration) -> None:
    invalid.check()


def test_all_selects_every_application() -> None:
    configured = parsed(
        {
            "credentials": "well-known",
            "services": {"deploy": "all"},
            "frontends": {"deploy": "all"},
            "gateway": {"enabled": True},
        }
    )
    assert configured.services.deployed == configured.services.enabled == SERVICES
    assert configured.frontends.deployed == FRONTENDS


def test_a_selection_has_the_order_of_the_catalog() -> None:
    assert [one.name for one in parsed({"services": {"deploy": ["rdv", "user"]}}).services.deployed] == ["user", "rdv"]


def test_a_local_service_is_routed_and_not_deployed() -> None:
    services = parsed(
        {"services": {"deploy": ["user", "rdv"], "local": ["rdv"]}, "gateway": {"enabled": True}}
    ).services
    assert (services.deployed, services.enabled) == ((USER,), (USER, RDV))


def test_an_application_has_the_common_settings_without_overrides() -> None:
    services = parsed(
        {
            **CLUSTER,
            **MANY_CONNECTIONS,
            "services": {
                "deploy": ["user", "rdv"],
                "image": "registry.example.com/{name}:2",
                "replicas": 2,
                "memoryMib": 300,
                "overrides": {"rdv": {"replicas": 4, "memoryMib": 500, "cpuRequest": 0.5, "image": "rdv:3"}},
            },
        }
    ).services
    assert services.resolve(USER) == AppConfig(
        image="registry.example.com/user:2", replicas=2, memory_mib=300, cpu_request=0.05, scaling=None
    )
    assert services.resolve(RDV) == AppConfig(image="rdv:3", replicas=4, memory_mib=500, cpu_request=0.5, scaling=None)


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        ({}, ScalingSettings(min_replicas=2, max_replicas=8)),
        ({"replicas": 3}, None),
        ({"scaling": {"maxReplicas": 3}}, ScalingSettings(max_replicas=3)),
    ],
    ids=["as all", "its own number", "its own autoscaling"],
)
def test_an_override_takes_precedence_over_the_common_scaling(
    own: Mapping[str, Any], expected: ScalingSettings | None
) -> None:
    stack = {
        **CLUSTER,
        **MANY_CONNECTIONS,
        "services": {"deploy": ["user"], "scaling": {"maxReplicas": 8}, "overrides": {"user": own}},
    }
    assert parsed(stack).services.resolve(USER).scaling == expected


def test_a_front_ends_key_is_in_camel_case() -> None:
    frontends = parsed({"frontends": {"overrides": {"callcenterWebapp": {"memoryMib": 99}}}}).frontends
    assert frontends.resolve(FRONTENDS[3]).memory_mib == 99


def test_a_front_ends_name_is_not_a_key() -> None:
    found = refused_keys({"frontends": {"overrides": {"client-pwa": {}}}})
    assert_refused(found, {"frontends.overrides.client-pwa": (UNKNOWN, "did you mean 'clientPwa'?")})


@pytest.mark.parametrize("path", ["/metrics", "/health/", "/Health/live", "/.metrics", "/metrics.", "/health./live"])
def test_an_internal_path_is_refused_as_a_public_path(path: str) -> None:
    assert refused_keys({"services": {"overrides": {"user": {"publicPaths": [path]}}}}).keys() == {
        "services.overrides.user.publicPaths"
    }


@pytest.mark.parametrize("path", ["/health-records", "/a/metrics"])
def test_a_path_that_only_begins_like_an_internal_one_is_accepted(path: str) -> None:
    services = parsed({"services": {"overrides": {"user": {"publicPaths": [path]}}}}).services
    assert services.overrides_for(USER).public_paths == (path,)


@pytest.mark.parametrize(
    "path", ["/auth/login", "/public/", "/webhooks/stripe", "/v1.2/a-b_c", "/.well-known/jwks.json"]
)
def test_a_public_path_is_a_path_below_the_service(path: str) -> None:
    services = parsed({"services": {"overrides": {"user": {"publicPaths": [path]}}}}).services
    assert services.overrides_for(USER).public_paths == (path,)


def test_an_additional_variable_is_accepted() -> None:
    environment = {"LOG_LEVEL": "debug", "FEATURE_2": "on", "REPORT": "1"}
    assert parsed({"services": {"environment": environment}}).services.environment == environment
