"""Rules for the configuration of monitoring."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from settings.credentials import supplied_credentials
from tests.unit.mistakes import Rule, assert_refused, parsed, refused_keys

CLUSTER = {"backend": {"kind": "kubernetes"}, "kubernetes": {"kubeconfig": "~/.kube/config", "context": "production"}}
SMARTHOST_REQUIRED = ("is required with email.to", "HOST:PORT")

URL = "a string such as 'https://{}.example.com'"

INVALID_CONFIGURATIONS: list[tuple[str, dict[str, Any], dict[str, Rule]]] = [
    (
        "mail without a server",
        {"receivers": {"email": {"to": ["a@example.com"]}}},
        {"receivers.email.smarthost": SMARTHOST_REQUIRED},
    ),
    (
        "a mail server without recipients",
        {"receivers": {"email": {"smarthost": "smtp.example.com:587"}}},
        {"receivers.email.to": ("names no recipient", "add a recipient")},
    ),
    (
        "kubelets of an engine",
        {"prometheus": {"scrapeKubelets": True}},
        {"prometheus.scrapeKubelets": ("on Docker: an engine has no kubelets", "false")},
    ),
    (
        "a receiver and none on purpose",
        {"receivers": {"none": True, "webhook": True}},
        {"receivers.none": ("there is a receiver (email or webhook)", "false")},
    ),
    ("a path in place of an address", {"grafana": {"url": "/grafana"}}, {"grafana.url": URL.format("grafana")}),
    (
        "an address with a query",
        {"prometheus": {"url": "https://example.com/?a=b"}},
        {"prometheus.url": URL.format("prometheus")},
    ),
    (
        "an address with a slash behind it",
        {"alertmanager": {"url": "https://example.com/"}},
        {"alertmanager.url": URL.format("alertmanager")},
    ),
    (
        "an exporter of a cluster's objects on an engine",
        {"exporters": {"kubeState": "mirror/ksm:1"}},
        {"exporters.kubeState": ("has no effect on Docker", "pulumi config rm")},
    ),
    ("no share of failures", {"thresholds": {"errorPercent": 0.0}}, {"thresholds.errorPercent": "a number above 0"}),
]


@pytest.mark.parametrize(
    ("monitoring", "expected"),
    [one[1:] for one in INVALID_CONFIGURATIONS],
    ids=[one[0] for one in INVALID_CONFIGURATIONS],
)
def test_a_contradiction_is_refused(monitoring: Mapping[str, Any], expected: Mapping[str, Rule]) -> None:
    found = refused_keys({"monitoring": {"enabled": True, **monitoring}})
    assert_refused(found, {f"monitoring.{key}": rule for key, rule in expected.items()})


NGINX_REQUIRED = ("has no effect without nginx (gateway.enabled, edge.kind: nginx)", "pulumi config rm")


@pytest.mark.parametrize(
    "others",
    [{}, {"gateway": {"enabled": False}}, {**CLUSTER, "gateway": {"enabled": True}, "edge": {"kind": "ingress"}}],
    ids=["no gateway", "a gateway that is off", "the cluster's edge"],
)
def test_a_certificate_threshold_without_nginx_is_refused(others: Mapping[str, Any]) -> None:
    limit = {"thresholds": {"certificateDays": 14}}
    found = refused_keys({"monitoring": {"enabled": True, **limit}, **others})
    assert_refused(found, {"monitoring.thresholds.certificateDays": NGINX_REQUIRED})
    assert not parsed({"monitoring": {"enabled": False, **limit}, **others}).monitoring.enabled


def test_a_certificate_threshold_with_nginx_is_accepted() -> None:
    limit = {"thresholds": {"certificateDays": 21}}
    settings = parsed({"monitoring": {"enabled": True, **limit}, "gateway": {"enabled": True}})
    assert settings.monitoring.thresholds.certificate_days == 21


def test_a_threshold_of_the_tenant_audit_requires_the_audit() -> None:
    monitoring = {"monitoring": {"enabled": True, "thresholds": {"tenantAuditHours": 170}}}
    rule = ("has no effect without the audit (tenants.enabled)", "pulumi config rm")
    assert_refused(refused_keys(monitoring), {"monitoring.thresholds.tenantAuditHours": rule})
    assert parsed({**monitoring, "tenants": {"enabled": True}}).monitoring.thresholds.tenant_audit_hours == 170


def test_a_configured_section_requires_enabled() -> None:
    filled = {"thresholds": {"latencyMs": 300}}
    rule = ("is not set, although the section has other settings", "true", "or false")
    assert_refused(refused_keys({"monitoring": filled}), {"monitoring.enabled": rule})
    assert not parsed({"monitoring": {"enabled": False, **filled}}).monitoring.enabled
    assert not parsed({"monitoring": {}}).monitoring.enabled


def test_node_exporter_is_refused_in_a_cluster() -> None:
    watched = {**CLUSTER, "monitoring": {"enabled": True, "exporters": {"node": "mirror/node:1"}}}
    found = refused_keys(watched)
    assert_refused(found, {"monitoring.exporters.node": ("has no effect on Kubernetes", "pulumi config rm")})


def test_kubelet_metrics_are_accepted_in_a_cluster() -> None:
    assert parsed(
        {**CLUSTER, "monitoring": {"enabled": True, "prometheus": {"scrapeKubelets": True}}}
    ).monitoring.enabled


@pytest.mark.parametrize(
    ("receivers", "key"),
    [({"webhook": True}, "alertWebhookUrl"), ({"heartbeat": True}, "heartbeatWebhookUrl")],
)
def test_a_webhook_url_is_required_even_with_well_known_credentials(receivers: Mapping[str, Any], key: str) -> None:
    configured = {"credentials": "well-known", "monitoring": {"enabled": True, "receivers": receivers}}
    assert [one.key for one in supplied_credentials(parsed({**configured, key: "set"}, [key]))] == [key]
    assert {*refused_keys(configured)} == {key}


PROTECTED = {"protect": True, "credentials": "generated"}
EMAIL = {"to": ["a@example.com"], "smarthost": "smtp.example.com:587"}


@pytest.mark.parametrize("place", [{}, CLUSTER], ids=["Docker", "Kubernetes"])
@pytest.mark.parametrize("receivers", [{}, {"heartbeat": True}, {"none": False}], ids=str)
def test_a_protected_stack_without_a_receiver_is_refused(
    place: Mapping[str, Any], receivers: Mapping[str, Any]
) -> None:
    given = {"heartbeatWebhookUrl": "set"}
    watched = {**PROTECTED, **place, **given, "monitoring": {"enabled": True, "receivers": receivers}}
    (key, allowed), *others = refused_keys(watched, [*given]).items()
    assert others == []
    assert key == "monitoring.receivers"
    for way in ("webhook: true", "alertWebhookUrl", "email.to", "none: true"):
        assert way in allowed


@pytest.mark.parametrize(
    "receivers", [{"none": True}, {"webhook": True}, {"email": EMAIL}, {"none": True, "heartbeat": True}], ids=str
)
def test_a_protected_stack_with_a_receiver_or_none_true_is_accepted(receivers: Mapping[str, Any]) -> None:
    given = {"alertWebhookUrl": "set", "heartbeatWebhookUrl": "set"}
    watched = {**PROTECTED, **given, "monitoring": {"enabled": True, "receivers": receivers}}
    assert parsed(watched, [*given]).monitoring.enabled


@pytest.mark.parametrize(
    "stack",
    [{"monitoring": {"enabled": True}}, {**PROTECTED, "monitoring": {"enabled": False}}, PROTECTED],
    ids=["not protected", "not monitored", "no monitoring"],
)
def test_an_unprotected_stack_needs_no_receiver(stack: Mapping[str, Any]) -> None:
    assert not parsed(stack).monitoring.receivers.has_receiver
