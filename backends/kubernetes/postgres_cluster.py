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
"""Of everything that the operator makes for a cluster; its value is the cluster's name."""

POSTGRES = 5432
STATUS = 8000
"""The instance manager's own port, which the operator asks and the instances ask of each other."""

SURVIVES_ONE_LOSS = 3
"""Instances from which on each commit waits for replicas: with fewer, one lost instance would stop all writing."""

UNUSED = "app"
"""The database and the role that the operator makes for an application, named or not."""


def selector(name: str) -> dict[str, str]:
    """What the operator puts on the cluster's pods."""
    return {LABEL: name}


def admin(cluster: PostgresCluster) -> Manifest:
    """The Secret with the superuser's password."""
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
    """The operator's order: what runs, and where its data lies.

    A commit waits for half of the replicas. That alone would not keep it: the replica that is left when the primary and
    others are lost may be one that never saw it. So the operator makes one the primary only while it sees so many that
    one of them must have every commit, and otherwise leaves the decision to a person.
    """
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
                # Sorting that no operating system upgrade changes under an index.
                "localeProvider": "builtin",
                "builtinLocale": "C.UTF-8",
                "locale": "C.UTF-8",
                # The platform makes its own databases; this one is no meeting place for their roles, nor a way in.
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
        # Else a primary that is told to go (a drained node) refuses new connections for three minutes and waits for the
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
    """The Service that names every server, where Prometheus has to ask each one; the operator makes none like it."""
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
    """What the cluster's pods may do, and who may reach them.

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
