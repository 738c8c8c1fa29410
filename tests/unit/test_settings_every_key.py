"""Every key can be set, spelled as in the file, and is read back unchanged."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from settings.models import json_schema
from tests.unit.mistakes import parsed
from tests.unit.stored_values import stored

SIZES = {"image": "ghcr.io/pti-calendar/own:2.1", "memoryMib": 320, "cpuRequest": 0.3}
KUBECONFIG = {"kubeconfig": "~/.kube/other", "context": "production"}

DEVELOPER_STACK: Mapping[str, Any] = {
    "backend": {
        "kind": "docker",
        "host": "ssh://me@engine",
        "bindAddress": "127.0.0.2",
        "publishedHost": "engine",
        "networkPool": "10.8.0.0/16",
    },
    "credentials": "well-known",
    "protect": True,
    "images": {"mirrors": {"docker.io": "registry.example.com:5000/mirror"}},
    "postgres": {
        "mode": "single",
        "image": "postgres:17.2",
        "previousMajor": 18,
        "port": 1,
        "memoryMib": 1048576,
        "maxConnections": 10000,
        "cpuRequest": 1.5,
        "storageGib": 11,
    },
    "redis": {
        "mode": "standalone",
        "image": "redis:7.4",
        "port": 65535,
        "maxMemoryMib": 8,
        "cpuRequest": 0.5,
        "storageGib": 3,
    },
    "kafka": {
        "mode": "zookeeper",
        "image": "apache/kafka:3.9.0",
        "port": 2,
        "heapMib": 192,
        "jvmOptions": "-XX:+UseG1GC",
        "cpuRequest": 0.7,
        "storageGib": 12,
        "partitions": 3,
        "expectedTopics": 40,
        "zookeeper": {"image": "zookeeper:3.9.4", "port": 3, "heapMib": 64},
    },
    "services": {
        "deploy": ["user", "payment"],
        "local": ["payment"],
        "image": "localhost:5000/{name}:7",
        "memoryMib": 256,
        "cpuRequest": 0.2,
        "migrationCommand": ["npm", "run", "migrate"],
        "environment": {"LOG_LEVEL": "debug"},
        "databasePoolMax": 9,
        "overrides": {"user": {**SIZES, "databasePoolMax": 3, "publicPaths": ["/auth/login", "/auth/refresh"]}},
    },
    "frontends": {
        "deploy": ["pro-webapp"],
        "image": "localhost:5000/web/{name}:7",
        "memoryMib": 96,
        "cpuRequest": 0.15,
        "overrides": {"proWebapp": SIZES},
    },
    "gateway": {
        "enabled": True,
        "domain": "example.localhost",
        "corsOrigins": ["https://example.localhost:8444"],
        "maxBodyMib": 20,
        "tls": {"source": "self-signed"},
        "rateLimit": {"perMinute": 60, "perHour": 600},
        "kong": {
            "image": "kong:3.9.1",
            "proxyPort": 4,
            "tlsPort": 5,
            "adminApi": True,
            "adminPort": 6,
            "memoryMib": 600,
            "cpuRequest": 0.4,
        },
    },
    "edge": {
        "kind": "nginx",
        "nginx": {"image": "nginxinc/nginx-unprivileged:1.29", "httpPort": 8000, "httpsPort": 8444, "memoryMib": 65},
    },
    "backups": {
        "enabled": True,
        "schedule": "0 */4 * * *",
        "keepCount": 5,
        "keepDays": 60,
        "storageGib": 50,
        "maxAgeHours": 5,
        "drill": {"enabled": True, "schedule": "0 6 * * 1", "maxAgeHours": 200, "storageGib": 60},
        "pointInTime": {
            "enabled": True,
            "schedule": "0 */6 * * *",
            "keepCount": 4,
            "keepDays": 14,
            "storageGib": 60,
            "maxWalGib": 3,
            "maxAgeHours": 7,
        },
        "offsite": {
            "enabled": True,
            "schedule": "0 6 * * *",
            "repository": "s3:https://s3.example.com/bucket/prod",
            "region": "eu-west-3",
            "cidrs": ["192.0.2.0/24"],
            "keepDaily": 3,
            "keepWeekly": 4,
            "keepMonthly": 5,
            "checkRuns": 6,
            "maxAgeHours": 31,
            "allowFetch": True,
            "memoryMib": 1024,
            "image": "restic/restic:0.18.1",
        },
    },
    "devTools": {
        "enabled": True,
        "pgAdmin": {"image": "dpage/pgadmin4:9.1", "port": 7, "email": "me@example.com"},
        "kafkaUi": {"image": "kafbat/kafka-ui:1", "port": 8, "heapMib": 128},
        "redisCommander": {"image": "rc:1", "port": 9},
    },
}
MONITORED_STACK: Mapping[str, Any] = {
    "backend": {"kind": "docker"},
    "gateway": {"enabled": True},
    "tenants": {"enabled": True, "auditSchedule": "0 5 * * 1-5"},
    "monitoring": {
        "enabled": True,
        "prometheus": {
            "image": "prom/prometheus:v3.1.0",
            "port": 19090,
            "url": "https://prometheus.example.com",
            "retentionDays": 30,
            "storageGib": 40,
            "memoryMib": 700,
            "scrapeIntervalS": 30,
        },
        "grafana": {
            "image": "grafana/grafana:12.0.0",
            "port": 13030,
            "url": "https://example.com/grafana",
            "memoryMib": 300,
        },
        "alertmanager": {"image": "prom/alertmanager:v0.28.0", "port": 19093, "url": "http://127.0.0.1:9093"},
        "exporters": {name: f"mirror/{name}:1" for name in ("postgres", "redis", "kafka", "nginx", "blackbox", "node")},
        "thresholds": {
            "latencyMs": 400,
            "errorPercent": 4.0,
            "diskPercent": 70.0,
            "trafficFloorRps": 0.5,
            "availabilityPercent": 99.5,
            "certificateDays": 21,
            "tenantAuditHours": 170,
        },
        "receivers": {
            "email": {
                "to": ["ops@example.com"],
                "sender": "alerts@example.com",
                "smarthost": "smtp.example.com:587",
                "username": "alerts",
            },
            "webhook": True,
            "heartbeat": True,
        },
    },
}
CLUSTER_STACK: Mapping[str, Any] = {
    "backend": {"kind": "kubernetes"},
    "kubernetes": {
        **KUBECONFIG,
        "minVersion": "1.34",
        "namespace": "pti-prod",
        "clusterDomain": "cluster.example",
        "storageClass": "fast",
        "imagePullSecrets": ["registry"],
        "dns": {"namespace": "openshift-dns", "port": 5353, "cidrs": ["10.0.0.10/32"]},
        "connectTimeoutS": 20,
    },
    "postgres": {
        "mode": "cloudnativepg",
        "memoryMib": 4096,
        "maxConnections": 400,
        "cloudnativepg": {"image": "mirror/cnpg:18.2", "instances": 5, "operatorNamespace": "operators"},
    },
    "kafka": {"mode": "kraft", "brokers": 5},
    "services": {
        "deploy": ["user", "rdv"],
        "replicas": 4,
        "overrides": {
            "user": {"replicas": 5},
            "rdv": {"scaling": {"minReplicas": 3, "maxReplicas": 9, "cpuPercent": 55}},
        },
    },
    "frontends": {
        "deploy": ["client-pwa", "admin-webapp"],
        "scaling": {"minReplicas": 1, "maxReplicas": 5, "cpuPercent": 80},
        "overrides": {"clientPwa": {"replicas": 3}, "adminWebapp": {"scaling": {"maxReplicas": 2}}},
    },
    "gateway": {
        "enabled": True,
        "tls": {
            "source": "cert-manager",
            "secretName": "certificate",
            "issuer": "company",
            "issuerKind": "Issuer",
        },
        "kong": {"replicas": 3},
    },
    "edge": {
        "nginx": {
            "replicas": 3,
            "loadBalancer": {
                "annotations": {"service.beta.kubernetes.io/aws-load-balancer-scheme": "internet-facing"},
                "className": "service.k8s.aws/nlb",
                "externalTrafficPolicy": "Cluster",
                "sourceRanges": ["192.0.2.0/24"],
            },
        }
    },
}
MANAGED_STORES_STACK: Mapping[str, Any] = {
    "backend": {"kind": "kubernetes"},
    "kubernetes": KUBECONFIG,
    "backups": {
        "enabled": True,
        "offsite": {
            "enabled": True,
            "repository": "sftp://pti@backup.example.com//srv/pti",
            "hostKeys": ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5"],
            "addOnly": True,
        },
    },
    "postgres": {
        "mode": "external",
        "external": {
            "host": "db.example.com",
            "port": 6432,
            "admin": "dba",
            "sslMode": "verify-full",
            "cidrs": ["10.1.0.0/16"],
        },
    },
    "redis": {
        "mode": "external",
        "external": {"host": "redis.example.com", "port": 6380, "tls": False, "cidrs": ["10.2.0.0/16"]},
    },
    "kafka": {
        "mode": "external",
        "external": {
            "bootstrapServers": ["kafka-1.example.com:9093", "kafka-2.example.com:9093"],
            "securityProtocol": "SASL_SSL",
            "username": "pti",
            "cidrs": ["10.3.0.0/16"],
        },
    },
    "services": {"deploy": [], "scaling": {"maxReplicas": 20}},
    "frontends": {"replicas": 3},
    "gateway": {"enabled": True},
    "edge": {
        "kind": "ingress",
        "controllerNamespace": "edge",
        "ingress": {
            "className": "traefik",
            "annotations": {"traefik.ingress.kubernetes.io/router.entrypoints": "websecure"},
        },
    },
}
SHARED_GATEWAY_STACK: Mapping[str, Any] = {
    "backups": {"enabled": True, "offsite": {"enabled": True, "repository": "volume", "storageGib": 20}},
    "backend": {"kind": "kubernetes"},
    "kubernetes": KUBECONFIG,
    "monitoring": {
        "enabled": True,
        "prometheus": {"scrapeKubelets": True},
        "exporters": {"kubeState": "mirror/ksm:1"},
        "receivers": {"none": True},
    },
    "gateway": {"enabled": True},
    "edge": {
        "kind": "gateway-api",
        "gatewayApi": {
            "gateway": "public",
            "gatewayNamespace": "gateways",
            "httpsListener": "https",
            "httpListener": "http",
        },
    },
}
STACKS = {
    "a developer's stack": DEVELOPER_STACK,
    "a stack with monitoring": MONITORED_STACK,
    "a stack on Kubernetes": CLUSTER_STACK,
    "a stack with external stores": MANAGED_STORES_STACK,
    "a stack behind a shared Gateway": SHARED_GATEWAY_STACK,
}
SUPPLIED_SECRETS = {
    "postgresPassword": "hunter2",
    "redisPassword": "hunter2",
    "kafkaPassword": "hunter2",
    "alertEmailPassword": "hunter2",
    "alertWebhookUrl": "https://alerts.example.com",
    "heartbeatWebhookUrl": "https://alive.example.com",
    "offsitePassword": "hunter2",
    "offsiteAccessKey": "hunter2",
    "offsiteSecretKey": "hunter2",
    "offsiteSshKey": "hunter2",
}


def keys_of(configuration: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """Return the dotted keys that hold a value, with `*` for an application's name."""
    for key, value in configuration.items():
        if isinstance(value, Mapping) and key not in ("environment", "scaling", "annotations", "mirrors"):
            yield from keys_of(value, f"{path}{key}.")
        else:
            yield re.sub(r"\.overrides\.\w+\.", ".overrides.*.", f"{path}{key}")


def known_keys() -> set[str]:
    """Return the dotted keys of the schema."""
    schema = json_schema()

    def below(section: Mapping[str, Any], path: str) -> Iterator[str]:
        for key, described in section["properties"].items():
            name = described.get("$ref", "").rpartition("/")[2]
            if name:
                yield from below(schema["$defs"][name], f"{path}{key}.")
            else:
                yield re.sub(r"\.overrides\.\w+\.", ".overrides.*.", f"{path}{key}")

    return {*below(schema, "")}


@pytest.mark.parametrize("stack", STACKS)
def test_configured_values_are_read_back(stack: str) -> None:
    configured = parsed({**STACKS[stack], **SUPPLIED_SECRETS}, [*SUPPLIED_SECRETS])
    assert configured.model_dump(mode="json", by_alias=True, exclude_unset=True) == STACKS[stack]


def with_scalars(configuration: Any, convert: Callable[[str], Any]) -> Any:
    """Return a configuration with each number and boolean converted from the text that an operator types."""
    if isinstance(configuration, Mapping):
        return {key: with_scalars(value, convert) for key, value in configuration.items()}
    if isinstance(configuration, list):
        return [with_scalars(value, convert) for value in configuration]
    return configuration if isinstance(configuration, str) else convert(json.dumps(configuration))


@pytest.mark.parametrize("stack", STACKS)
@pytest.mark.parametrize("form", [stored, str], ids=["without --type", "with --type string"])
def test_values_are_read_back_as_pulumi_stores_them(stack: str, form: Callable[[str], Any]) -> None:
    configured = parsed({**with_scalars(STACKS[stack], form), **SUPPLIED_SECRETS}, [*SUPPLIED_SECRETS])
    assert configured.model_dump(mode="json", by_alias=True, exclude_unset=True) == STACKS[stack]


def test_the_test_stacks_set_every_key() -> None:
    assert {key for stack in STACKS.values() for key in keys_of(stack)} == known_keys()
