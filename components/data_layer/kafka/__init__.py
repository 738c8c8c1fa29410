"""Kafka: brokers coordinated by ZooKeeper or by themselves (KRaft), or a managed one."""

from __future__ import annotations

import pulumi

from backends.base import Backend, DeployOptions
from components.data_layer.access import KafkaAccess
from components.data_layer.kafka.broker import broker
from components.data_layer.kafka.properties import ENDPOINT, PUBLISHED
from components.data_layer.kafka.zookeeper import zookeeper
from settings.stores import Kafka
from workloads import Endpoint, External


def deploy(settings: Kafka, backend: Backend, *, cluster: str, parent: pulumi.Resource) -> KafkaAccess:
    """Brings up the brokers of the chosen mode, if they are the stack's.

    Args:
        cluster: name that Kafka's cluster id is made from.
    """
    if settings.mode == "external":
        return _external(settings)
    if settings.mode == "zookeeper":
        backend.deploy(zookeeper(settings.zookeeper), DeployOptions(parent=parent))
    # A single broker has a listener of its own for people; several are reached from the platform's side.
    host, port = backend.addressing.published(Endpoint(ENDPOINT.workload, PUBLISHED), settings.port)
    published = f"{host}:{port}" if settings.brokers == 1 else f"{backend.addressing.fqdn('kafka')}:{ENDPOINT.port}"
    backend.deploy(broker(settings, published=published, cluster=cluster), DeployOptions(parent=parent))
    return KafkaAccess(
        bootstrap_servers=str(ENDPOINT),
        published_servers=published,
        calls=(ENDPOINT,),
        security_protocol="PLAINTEXT",
        username=None,
        server=(ENDPOINT.workload,),
    )


def _external(settings: Kafka) -> KafkaAccess:
    external = settings.external
    servers = [address.rpartition(":") for address in external.bootstrap_servers]
    return KafkaAccess(
        bootstrap_servers=",".join(external.bootstrap_servers),
        published_servers=",".join(external.bootstrap_servers),
        calls=tuple(External(host, int(port), external.cidrs) for host, _, port in servers),
        security_protocol=external.security_protocol,
        username=external.username,
        server=(),
    )
