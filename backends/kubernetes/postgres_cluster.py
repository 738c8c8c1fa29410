"""PostgreSQL as the CloudNativePG operator runs it."""

from __future__ import annotations

from collections.abc import Iterable

import pulumi

from backends.kubernetes import labels, namespace_reader, network_policy
from backends.kubernetes.files import secret
from backends.kubernetes.manifest import NO_WAIT, SKIP_AWAIT, Manifest, cores, manifest, mebibytes
from backends.kubernetes.services import HEADLESS_SPEC
from settings.backend import DnsSettings
from workloads import METRICS_PORT, Endpoint, PostgresCluster

COMPONENT = "postgres-cluster"
KIND, RESOURCE = "Cluster", "clusters.postgresql.cnpg.io"
CLUSTER_LABEL = "cnpg.io/cluster"
"""Label of everything that the operator creates for a cluster; its value is the cluster's name."""

POSTGRES_PORT = 5432
STATUS_PORT = 8000
"""Port of the instance manager, which the operator and the other instances query."""

MIN_SYNCHRONOUS_INSTANCES = 3
"""Number of instances from which commits wait for replicas. With fewer, the loss of one instance would stop all
writes."""

UNUSED_DATABASE = "app"
"""The database and the role that the operator always creates for an application."""


def selector(name: str) -> dict[str, str]:
    """Return the operator's labels of the cluster's pods."""
    return {CLUSTER_LABEL: name}


def admin_secret_manifest(cluster: PostgresCluster) -> Manifest:
    """Return the Secret of the superuser's password."""
    return secret(
        {"username": "postgres", "password": cluster.admin_password},
        labels=labels.workload_labels(cluster.name, COMPONENT),
        kind="kubernetes.io/basic-auth",
    )


def cluster_manifest(
    cluster: PostgresCluster,
    *,
    image: str,
    admin_secret: pulumi.Input[str],
    storage_class: str | None,
    pull_secrets: Iterable[str],
) -> Manifest:
    """Return the Cluster object of the operator.

    A commit waits for half of the replicas. This alone doesn't protect it: if the primary and other replicas are lost,
    the remaining one may lack the commit. So the operator promotes a replica only if it sees enough of them that one
    must have every commit. Otherwise a human operator must decide."""
    memory = mebibytes(cluster.memory_mib)
    storage = {"size": f"{cluster.size_gib}Gi"}
    postgresql: Manifest = {"parameters": dict(cluster.parameters)}
    if cluster.instances >= MIN_SYNCHRONOUS_INSTANCES:
        replicas = cluster.instances - 1
        postgresql["synchronous"] = {"method": "any", "number": replicas // 2, "failoverQuorum": True}
    spec: Manifest = {
        "instances": cluster.instances,
        "imageName": image,
        "enableSuperuserAccess": True,
        "superuserSecret": {"name": admin_secret},
        "bootstrap": {
            "initdb": {
                "dataChecksums": True,
                "encoding": "UTF8",
                # This collation doesn't change with the operating system. A change would break indexes.
                "localeProvider": "builtin",
                "builtinLocale": "C.UTF-8",
                "locale": "C.UTF-8",
                # The platform creates its own databases. No role may use this one.
                "database": UNUSED_DATABASE,
                "owner": UNUSED_DATABASE,
                "postInitApplicationSQL": [
                    f"REVOKE ALL ON DATABASE {UNUSED_DATABASE} FROM PUBLIC",
                    # The operator's exporter runs its queries in this database, as a member of the role `pg_monitor`.
                    f"GRANT CONNECT ON DATABASE {UNUSED_DATABASE} TO pg_monitor",
                    f"ALTER ROLE {UNUSED_DATABASE} NOLOGIN",
                ],
            }
        },
        "storage": storage | ({"storageClass": storage_class} if storage_class else {}),
        "resources": {
            "requests": {"cpu": cores(cluster.cpu_request), "memory": memory},
            "limits": {"memory": memory},
        },
        "ephemeralVolumesSizeLimit": {"shm": mebibytes(cluster.shm_mib)},
        "postgresql": postgresql,
        # Otherwise a stopping primary (a drained node) refuses new connections for three minutes and waits for the
        # old ones, which services' pools never close, before a replica takes over.
        "smartShutdownTimeout": 0,
    }
    if names := list(pull_secrets):
        spec["imagePullSecrets"] = [{"name": name} for name in names]
    return manifest(
        "postgresql.cnpg.io/v1",
        KIND,
        name=cluster.name,
        labels=labels.workload_labels(cluster.name, COMPONENT),
        annotations=NO_WAIT,
        spec=spec,
    )


def instances_service(cluster: PostgresCluster) -> Manifest:
    """Return the headless Service of all servers, because Prometheus must scrape each one. The operator creates
    none."""
    return manifest(
        "v1",
        "Service",
        name=f"{cluster.name}-pods",
        labels=labels.workload_labels(cluster.name, COMPONENT),
        annotations=SKIP_AWAIT,
        spec={
            **HEADLESS_SPEC,
            "selector": selector(cluster.name),
            "ports": [{"name": "metrics", "port": METRICS_PORT, "targetPort": METRICS_PORT, "protocol": "TCP"}],
        },
    )


def cluster_network_policy(cluster: PostgresCluster, *, dns: DnsSettings) -> Manifest:
    """Return the network policy of the cluster's pods.

    It admits clients of the database and its metrics, and connections among the operator and the instances (both ports
    are in CloudNativePG's page on networking), and allows connections to the API server, to which each instance
    reports. A policy can't select the API server, so its ports are allowed for every address.
    """
    rule, pod_peer = network_policy.rule, network_policy.pod_peer
    cluster_pods, cluster_ports = [pod_peer(selector(cluster.name))], [POSTGRES_PORT, STATUS_PORT]
    operator = [network_policy.namespace_peer(cluster.operator_namespace)]
    any_address = network_policy.cidr_peers(network_policy.ANY_ADDRESS)
    return network_policy.policy(
        cluster.name,
        selector(cluster.name),
        ingress=[
            *(
                rule([pod_peer(labels.connection_label(Endpoint(cluster.name, port)))], [port], direction="from")
                for port in (POSTGRES_PORT, METRICS_PORT)
            ),
            rule(cluster_pods, cluster_ports, direction="from"),
            rule(operator, cluster_ports, direction="from"),
        ],
        egress=[
            *network_policy.dns_rules(dns),
            rule(cluster_pods, cluster_ports, direction="to"),
            rule(any_address, namespace_reader.API_SERVER_PORTS, direction="to"),
        ],
        labels=labels.workload_labels(cluster.name, COMPONENT),
    )
