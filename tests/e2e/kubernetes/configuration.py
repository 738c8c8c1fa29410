"""The prod stack's configuration, reduced to fit on a node with two cores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from operations.project import ROOT
from settings import NAMESPACE
from settings.monitoring import AlertmanagerSettings, ExportersSettings, GrafanaSettings, PrometheusSettings
from testbed.cluster import Cluster
from testbed.cluster.constants import NODE_ADDRESS

SERVICE_IMAGE = "pti-calendar/reference-service:1.0.0"
NEXT_SERVICE_IMAGE = "pti-calendar/reference-service:1.0.1"
FRONTEND_IMAGE = "pti-calendar/reference-frontend:1.0.0"
IMAGES = (
    SERVICE_IMAGE,
    FRONTEND_IMAGE,
    "postgres:18.6",
    "redis:8.10.1",
    "apache/kafka:4.3.1",
    "kong:3.9.3",
    "nginxinc/nginx-unprivileged:1.30.4",
    PrometheusSettings().image,
    AlertmanagerSettings().image,
    GrafanaSettings().image,
    *(image for name, image in ExportersSettings() if name != "node"),
)
MIGRATE = ["python", "-m", "reference_service.migrate"]
THIRD_PARTY = {
    key: f"canary-of-{key}"
    for key in ("stripeSecretKey", "stripeWebhookSecret", "twilioAccountSid", "twilioAuthToken", "brevoApiKey")
}
DOMAIN = "pti-calendar.test"
PUBLIC_SERVICE = "user"
"""Its `/public` path requires no token."""

CLAIMS = {
    *(f"kafka-kraft-data-kafka-{number}" for number in range(3)),
    "postgres-data-postgres-0",
    "redis-data-redis-0",
    "prometheus-data-prometheus-0",
    "alertmanager-data-alertmanager-0",
}
"""Objects that remain after the stack is destroyed."""

SMALL_CLAIM = "alertmanager-data-alertmanager-0"
"""A workload with a volume small enough to fill in a test."""

RATE_LIMIT = 100_000
"""A limit in requests per minute that no test reaches; the rate-limit test lowers it."""

FEW_WORKLOADS: dict[str, Any] = {
    "services": {"deploy": ["user", "rdv"], "overrides": {"user": {"replicas": 2}, "payment": None}},
    "frontends": {"deploy": ["client-pwa"], "replicas": 2},
    "gateway": {"kong": {"replicas": 2}},
    "edge": {"nginx": {"replicas": 2}},
    "monitoring": {"enabled": False, "prometheus": None, "receivers": None},
}
"""Applied over `prod`: few services, no monitoring, two pods of every workload that supports them. The stores are the
same, so that the other workloads can be added later."""

SMALL_CONFIGURATION: dict[str, Any] = {**FEW_WORKLOADS, "kafka": {"brokers": 1}}
"""Applied over `prod`: the same workloads with one broker."""


def prod(cluster: Cluster) -> dict[str, Any]:
    """Return Pulumi.prod.yaml adapted to one small node: less CPU and memory, one replica of most workloads.

    Together, the pods request 1.7 cores, plus 0.05 for each running migration.
    """
    document = yaml.safe_load((ROOT / "Pulumi.prod.yaml").read_text())["config"]
    own = {key.removeprefix(f"{NAMESPACE}:"): value for key, value in document.items()}
    # There is no cert-manager here, so no object has an issuer.
    own["gateway"] = own["gateway"] | {"tls": {"source": "self-signed"}}
    return merged(
        own,
        {
            "kubernetes": {
                "kubeconfig": str(cluster.kubeconfig),
                "context": cluster.context,
                "dns": {"cidrs": [f"{NODE_ADDRESS}/32"]},
            },
            # The namespace and PVCs are retained when the stack is destroyed; protected resources couldn't be released
            # at all.
            "protect": False,
            "postgres": {"memoryMib": 1024, "maxConnections": 150, "storageGib": 5, "cpuRequest": 0.1},
            "redis": {"maxMemoryMib": 64},
            "kafka": {
                "heapMib": 256,
                "jvmOptions": "-XX:+UseSerialGC -XX:TieredStopAtLevel=1",
                "storageGib": 5,
                "cpuRequest": 0.1,
            },
            "services": {
                "image": SERVICE_IMAGE,
                "migrationCommand": MIGRATE,
                # On request, the reference service answers late or with an error.
                "environment": {"FAULT_INJECTION": "true"},
                "replicas": 1,
                "memoryMib": 192,
                "cpuRequest": 0.05,
                "overrides": {"rdv": {"replicas": 2}, PUBLIC_SERVICE: {"publicPaths": ["/public"]}},
            },
            "frontends": {"image": FRONTEND_IMAGE, "replicas": 1, "cpuRequest": 0.02},
            "gateway": {
                "domain": DOMAIN,
                # Off in production; if enabled, everyone who may forward a port has access.
                "kong": {"replicas": 1, "adminApi": True},
                "rateLimit": {"perMinute": RATE_LIMIT},
            },
            "edge": {"nginx": {"replicas": 1}},
            "monitoring": {
                "prometheus": {"storageGib": 5, "memoryMib": 256, "scrapeIntervalS": 5},
                # There are no receivers until the monitoring suite sets its own.
                "receivers": None,
            },
        },
    )


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Merge objects key by key; other values are replaced, and None removes a key."""
    found = dict(base)
    for key, value in over.items():
        known = found.get(key)
        found[key] = merged(known if isinstance(known, Mapping) else {}, value) if isinstance(value, Mapping) else value
    return {key: value for key, value in found.items() if value is not None}
