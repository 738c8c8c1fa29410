"""PostgreSQL as the CloudNativePG operator runs it."""

from __future__ import annotations

from collections.abc import Iterable

import pulumi

from backends.kubernetes import labels, namespace_reader, network_policy
from backends.kubernetes.files import secret
from backends.kubernetes.manifest import NO_WAIT, SKIP_AWAIT, Manifest, cores, manifest, mebibytes
from backends.kubernetes.services import HEADLESS
from workloads import METRICS_PORT, Endpoint, PostgresCluster

COMPONENT = "postgres-cluster"
KIND = "Cluster"
LABEL = "cnpg.io/cluster"
"""Label of everything that the operator creates for a cluster; its value is the cluster's name."""

POSTGRES = 5432
STATUS = 8000
"""Port of the instance manager, which the operator and the other instances query."""

SURVIVES_ONE_LOSS = 3
"""Number of instances from which commits wait for replicas. With fewer, the loss of one instance would stop all
writes."""

UNUSED = "app"
"""The database and the role that the operator always creates for an application."""


def selector(name: str) -> dict[str, str]:
    """Return the operator's labels of the cluster's pods."""
    return {LABEL: name}


def admin(cluster: PostgresCluster) -> Manifest:
    """Return the Secret of the superuser's password."""
    return secret(
        {"username": "postgres", "password": cluster.admin_password},
        labels=labels.labels(cluster.name, COMPONENT),
        kind="kubernetes.io/basic-auth",
    )


def cluster(
    wanted: PostgresCluster,
    *,
    image: str,
    admin_secret: pulumi.Input[str],
    storage_class: str | None,
    pull_secrets: Iterable[str],
) -> Manifest:
    """Return the Cluster object of the operator.

    A commit waits for half of the replicas. This alone doesn't protect it: if the primary and other replicas are lost,
    the remaining one may lack the commit. So the operator promotes a replica only if it sees enough of them that one
    must have every commit. Otherwise an operator (a person) must decide."""
    memory = mebibytes(wanted.memory_mib)
    storage = {"size": f"{wanted.size_gib}Gi"}
    postgresql: Manifest = {"parameters": dict(wanted.parameters)}
    if wanted.instances >= SURVIVES_ONE_LOSS:
        replicas = wanted.instances - 1
        postgresql["synchronous"] = {"method": "any", "number": replicas // 2, "failoverQuorum": True}
    spec: Manifest = {
        "instances": wanted.instances,
        "imageName": image,
        "enableSuperuserAccess": True,
        "superuserSecret": {"name": admin_secret},
        "bootstrap": {
            "initdb": {
                "dataChecksums": True,
                "encoding": "UTF8",
                # A collation that doesn't change with the operating system, which would break indexes.
                "localeProvider": "builtin",
                "builtinLocale": "C.UTF-8",
                "locale": "C.UTF-8",
                # The platform creates its own databases. No role may use this one.
                "database": UNUSED,
                "owner": UNUSED,
                "postInitApplicationSQL": [
                    f"REVOKE ALL ON DATABASE {UNUSED} FROM PUBLIC",
                    # The operator's exporter runs its queries there, as a member of this role.
                    f"GRANT CONNECT ON DATABASE {UNUSED} TO pg_monitor",
                    f"ALTER ROLE {UNUSED} NOLOGIN",
                ],
            }
        },
        "storage": storage | ({"storageClass": storage_class} if storage_class else {}),
        "resources": {
            "requests": {"cpu": cores(wanted.cpu_request), "memory": memory},
            "limits": {"memory": memory},
        },
        "ephemeralVolumesSizeLimit": {"shm": mebibytes(wanted.shm_mib)},
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
        name=wanted.name,
        labels=labels.labels(wanted.name, COMPONENT),
        annotations=NO_WAIT,
        spec=spec,
    )


def servers(wanted: PostgresCluster) -> Manifest:
    """Return the headless Service of all servers, because Prometheus must scrape each one. The operator creates
    none."""
    return manifest(
        "v1",
        "Service",
        name=f"{wanted.name}-pods",
        labels=labels.labels(wanted.name, COMPONENT),
        annotations=SKIP_AWAIT,
        spec={
            **HEADLESS,
            "selector": selector(wanted.name),
            "ports": [{"name": "metrics", "port": METRICS_PORT, "targetPort": METRICS_PORT, "protocol": "TCP"}],
        },
    )


def policy(wanted: PostgresCluster, *, dns_cidrs: Iterable[str]) -> Manifest:
    """Return the network policy of the cluster's pods.

    Callers of the database and of its metrics; the operator and the instances among each other (both ports are in
    CloudNativePG's page on networking); and the API server, to which each instance reports. A policy knows no name
    for that one, so its ports are open to any address.
    """
    rule, pods = network_policy.rule, network_policy.pods
    instances, among = [pods(selector(wanted.name))], [POSTGRES, STATUS]
    operator = [network_policy.namespace(wanted.operator_namespace)]
    anywhere = network_policy.addresses(network_policy.ANY_ADDRESS)
    return network_policy.policy(
        wanted.name,
        selector(wanted.name),
        ingress=[
            *(
                rule([pods(labels.calls(Endpoint(wanted.name, port)))], [port], towards="from")
                for port in (POSTGRES, METRICS_PORT)
            ),
            rule(instances, among, towards="from"),
            rule(operator, among, towards="from"),
        ],
        egress=[
            network_policy.dns(dns_cidrs),
            rule(instances, among, towards="to"),
            rule(anywhere, namespace_reader.API_SERVER, towards="to"),
        ],
        marked=labels.labels(wanted.name, COMPONENT),
    )
