"""Kafka: brokers coordinated by ZooKeeper or by themselves (KRaft)."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping

import pulumi

from backends.base import Backend
from components.assets import asset, assets
from components.data_layer.access import KafkaAccess
from settings.stores import Kafka, ZooKeeper
from workloads import (
    RECOVERY_S,
    Endpoint,
    Exec,
    External,
    FileSet,
    Kind,
    Liveness,
    Port,
    Probe,
    Scratch,
    TcpConnect,
    Volume,
    Workload,
)

ENDPOINT = Endpoint("kafka", 19092)
ZOOKEEPER = Endpoint("zookeeper", 2181)
PUBLISHED = 9092
CONTROLLER = 9093

CONFIGURATION = "/etc/kafka-broker"
DATA = "/var/lib/kafka/data"
USER = 1000
OUTSIDE_HEAP_MIB = 320
"""Metaspace, code cache, thread stacks and buffers of a broker, beside its heap."""

CLEANER_MIB = 128
"""The log cleaner's table by default. A broker takes it out of its heap at the start, and a heap of 256 MiB is then too
small to start with."""

ORDINAL = "@ordinal@"
NODE = "@node@"
"""What `start.sh` replaces with a broker's number: from 0 in its name, from 1 in its id."""


def deploy(settings: Kafka, backend: Backend, *, cluster: str, parent: pulumi.Resource) -> KafkaAccess:
    """Brings up the brokers of the chosen mode, if they are the stack's."""
    if settings.mode == "external":
        return _external(settings)
    if settings.mode == "zookeeper":
        backend.deploy(_zookeeper(settings.zookeeper), parent=parent)
    # A single broker has a listener of its own for people; several are reached from the platform's side.
    host, port = backend.reached_at(Endpoint(ENDPOINT.workload, PUBLISHED), settings.port)
    published = f"{host}:{port}" if settings.brokers == 1 else f"{backend.qualified_host('kafka')}:{ENDPOINT.port}"
    backend.deploy(_broker(settings, _properties(settings, published), cluster), parent=parent)
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


def _properties(settings: Kafka, published: str) -> dict[str, str]:
    """The broker's properties.

    A client is sent to the address the broker advertises, so workloads and people each need a listener of their own,
    and each of several brokers a name of its own.
    """
    several = settings.brokers > 1
    own_name = f"{ENDPOINT.workload}-{ORDINAL}.{ENDPOINT.workload}-peers" if several else ENDPOINT.workload
    listeners = {"INTERNAL": f"0.0.0.0:{ENDPOINT.port}"}
    advertised = {"INTERNAL": f"{own_name}:{ENDPOINT.port}"}
    if not several:
        listeners["EXTERNAL"] = f"0.0.0.0:{PUBLISHED}"
        advertised["EXTERNAL"] = published
    if settings.mode == "kraft":
        listeners["CONTROLLER"] = f"{'0.0.0.0' if several else 'localhost'}:{CONTROLLER}"  # noqa: S104 - of a container
        coordination = {
            "process.roles": "broker,controller",
            "node.id": NODE,
            "controller.listener.names": "CONTROLLER",
            "controller.quorum.voters": ",".join(_voters(settings.brokers)),
        }
    else:
        coordination = {
            "broker.id": NODE,
            "zookeeper.connect": str(ZOOKEEPER),
            "zookeeper.session.timeout.ms": "6000",
        }
    return {
        "listeners": ",".join(f"{name}://{address}" for name, address in listeners.items()),
        "advertised.listeners": ",".join(f"{name}://{address}" for name, address in advertised.items()),
        "listener.security.protocol.map": ",".join(f"{name}:PLAINTEXT" for name in listeners),
        "inter.broker.listener.name": "INTERNAL",
        "log.dirs": DATA,
        **_replication(settings.brokers),
        "log.cleaner.dedupe.buffer.size": str(min(CLEANER_MIB, settings.heap_mib // 8) * 1024 * 1024),
        "group.initial.rebalance.delay.ms": "0",
        **coordination,
    }


def _replication(brokers: int) -> dict[str, str]:
    copies, in_sync = min(3, brokers), min(2, brokers)
    # 50 partitions by default, of which a few brokers have no use; an existing topic keeps its own number.
    internal = {"offsets.topic.num.partitions": "5", "transaction.state.log.num.partitions": "5"}
    return {
        "default.replication.factor": str(copies),
        "min.insync.replicas": str(in_sync),
        "offsets.topic.replication.factor": str(copies),
        "transaction.state.log.replication.factor": str(copies),
        "transaction.state.log.min.isr": str(in_sync),
        **internal,
    }


def _voters(brokers: int) -> list[str]:
    if brokers == 1:
        return [f"1@localhost:{CONTROLLER}"]
    name = ENDPOINT.workload
    return [f"{number + 1}@{name}-{number}.{name}-peers:{CONTROLLER}" for number in range(brokers)]


def _broker(settings: Kafka, properties: Mapping[str, str], cluster: str) -> Workload:
    by_zookeeper, several = settings.mode == "zookeeper", settings.brokers > 1
    return Workload(
        name=ENDPOINT.workload,
        kind=Kind.STATEFUL,
        image=settings.broker_image,
        user=USER,
        replicas=settings.brokers,
        command=("bash", f"{CONFIGURATION}/start.sh"),
        environment={
            "KAFKA_HEAP_OPTS": f"-Xms{settings.heap_mib // 2}m -Xmx{settings.heap_mib}m",
            "KAFKA_JVM_PERFORMANCE_OPTS": settings.jvm_options,
            "LOG_DIR": "/tmp/logs",  # noqa: S108 - a mount of its own
            **({} if by_zookeeper else {"CLUSTER_ID": _cluster_id(cluster)}),
        },
        ports=(
            Port(name="internal", number=ENDPOINT.port),
            *(
                [Port(name="controller", number=CONTROLLER)]
                if several
                else [Port(name="external", number=PUBLISHED, publish=settings.port)]
            ),
        ),
        peer_ports=(ENDPOINT.port, CONTROLLER) if several else (),
        file_sets=(
            FileSet(
                name="configuration",
                directory=CONFIGURATION,
                files={
                    "server.properties": _lines(properties),
                    "start.sh": asset("kafka/start.sh"),
                    "ready.sh": asset("kafka/ready.sh"),
                },
            ),
        ),
        # A data directory belongs to the mode that made it: each has a volume of its own, and none is converted.
        volumes=(Volume(name=f"kafka-{settings.mode}-data", mount=DATA, size_gib=settings.storage_gib),),
        scratch=(Scratch(path="/tmp", size_mib=64),),  # noqa: S108 - a mount of its own
        memory_mib=settings.heap_mib + OUTSIDE_HEAP_MIB,
        cpu_request=settings.cpu_request,
        readiness=Probe(check=Exec(command=("bash", f"{CONFIGURATION}/ready.sh")), startup_s=120, period_s=2),
        # A broker that recovers its logs after a crash keeps its port closed meanwhile.
        liveness=Liveness(check=TcpConnect(port=ENDPOINT.port), failures=12, startup_s=RECOVERY_S),
        needs=(ZOOKEEPER.workload,) if by_zookeeper else (),
        calls=(ZOOKEEPER,) if by_zookeeper else (),
        stop_grace_s=60,
    )


def _zookeeper(settings: ZooKeeper) -> Workload:
    return Workload(
        name=ZOOKEEPER.workload,
        kind=Kind.STATEFUL,
        image=settings.image,
        user=USER,
        environment={"ZK_SERVER_HEAP": str(settings.heap_mib), "SERVER_JVMFLAGS": "-XX:+UseSerialGC"},
        ports=(Port(name="client", number=ZOOKEEPER.port, publish=settings.port),),
        file_sets=(FileSet(name="configuration", directory="/conf", files=assets("zookeeper")),),
        volumes=(
            Volume(name="zookeeper-data", mount="/data"),
            Volume(name="zookeeper-log", mount="/datalog"),
        ),
        scratch=(Scratch(path="/tmp"), Scratch(path="/logs")),  # noqa: S108 - mounts of its own
        memory_mib=settings.heap_mib + 160,
        readiness=Probe(check=Exec(command=("bash", "/conf/ready.sh")), startup_s=60, period_s=2),
        liveness=Liveness(check=TcpConnect(port=ZOOKEEPER.port), startup_s=RECOVERY_S),
    )


def _cluster_id(cluster: str) -> str:
    """Kafka's form of a UUID, always the same for the same stack, so that a kept volume is taken back."""
    return base64.urlsafe_b64encode(hashlib.sha256(f"pti-calendar/{cluster}".encode()).digest()[:16]).decode()[:22]


def _lines(properties: Mapping[str, str]) -> str:
    return "".join(f"{name}={value}\n" for name, value in properties.items())
