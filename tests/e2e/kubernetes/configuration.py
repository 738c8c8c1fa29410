"""The prod stack's own configuration, cut to fit a node of two cores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from operations.project import ROOT
from settings import NAMESPACE
from settings.monitoring import Alertmanager, Exporters, Grafana, Prometheus
from testbed.cluster import Cluster

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
    Prometheus().image,
    Alertmanager().image,
    Grafana().image,
    *(image for name, image in Exporters() if name != "node"),
)
MIGRATE = ["python", "-m", "reference_service.migrate"]
THIRD_PARTY = {
    key: f"canary-of-{key}"
    for key in ("stripeSecretKey", "stripeWebhookSecret", "twilioAccountSid", "twilioAuthToken", "brevoApiKey")
}
DOMAIN = "pti-calendar.test"
PUBLIC_SERVICE = "user"
"""Its `/public` needs no token."""

CLAIMS = {
    *(f"kafka-kraft-data-kafka-{number}" for number in range(3)),
    "postgres-data-postgres-0",
    "redis-data-redis-0",
    "prometheus-data-prometheus-0",
    "alertmanager-data-alertmanager-0",
}
"""What outlives the stack."""

SMALL_CLAIM = "alertmanager-data-alertmanager-0"
"""A workload whose volume is small enough for a test to fill."""

RATE_LIMIT = 100_000
"""Requests a minute that no step of the suite reaches; the one about the limit lowers it."""

SMALL: dict[str, Any] = {
    "postgres": {"maxConnections": 180, "memoryMib": 1152},
    "kafka": {"brokers": 1},
    "services": {"deploy": ["user", "rdv"], "replicas": 2, "each": {"payment": None}},
    "frontends": {"deploy": ["client-pwa"], "replicas": 2},
    "gateway": {"kong": {"replicas": 2}, "nginx": {"replicas": 2}},
    "monitoring": {"enabled": False, "prometheus": None, "receivers": None},
}
"""Over `prod`: few services without monitoring, with two pods of everything that may have two."""


def prod(cluster: Cluster) -> dict[str, Any]:
    """Pulumi.prod.yaml with what a single small node needs: less CPU and memory, one copy of most.

    Together the pods ask for 1.7 cores, and 0.05 more for each migration that runs.
    """
    document = yaml.safe_load((ROOT / "Pulumi.prod.yaml").read_text())["config"]
    own = {key.removeprefix(f"{NAMESPACE}:"): value for key, value in document.items()}
    # No cert-manager here: an issuer stands in no object without it.
    own["gateway"] = own["gateway"] | {"tls": {"source": "self-signed"}}
    return merged(
        own,
        {
            "kubernetes": {"kubeconfig": str(cluster.kubeconfig), "context": cluster.context},
            # The namespace and the claims are kept when the stack goes; with this they could not be let go at all.
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
                # Asked to, they answer late or not well.
                "environment": {"FAULT_INJECTION": "true"},
                "replicas": 1,
                "memoryMib": 192,
                "cpuRequest": 0.05,
                "each": {"rdv": {"replicas": 2}, PUBLIC_SERVICE: {"publicPaths": ["/public"]}},
            },
            "frontends": {"image": FRONTEND_IMAGE, "replicas": 1, "cpuRequest": 0.02},
            "gateway": {
                "domain": DOMAIN,
                # Off in production; asked for, who may forward a port reaches it.
                "kong": {"replicas": 1, "adminApi": True},
                "nginx": {"replicas": 1},
                "rateLimit": {"perMinute": RATE_LIMIT},
            },
            "monitoring": {
                "prometheus": {"storageGib": 5, "memoryMib": 256, "scrapeIntervalS": 5},
                # Nobody to notify, until the suite about monitoring sets its own receiver.
                "receivers": None,
            },
        },
    )


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Objects key by key; anything else is replaced, and None takes a key away."""
    found = dict(base)
    for key, value in over.items():
        known = found.get(key)
        found[key] = merged(known if isinstance(known, Mapping) else {}, value) if isinstance(value, Mapping) else value
    return {key: value for key, value in found.items() if value is not None}
