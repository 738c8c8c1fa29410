"""Kafka: one broker, coordinated by ZooKeeper or by itself (KRaft)."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping

from components.assets import asset, assets
from components.endpoint import Endpoint
from settings.models import Kafka, ZooKeeper
from workloads import Exec, FileSet, Kind, Port, Probe, Scratch, Volume, Workload

ENDPOINT = Endpoint("kafka", 19092)
ZOOKEEPER = Endpoint("zookeeper", 2181)
PUBLISHED = 9092
CONTROLLER = 9093

CONFIGURATION = "/etc/kafka-broker"
DATA = "/var/lib/kafka/data"
USER = 1000
OUTSIDE_HEAP_MIB = 320
"""Metaspace, code cache, thread stacks and buffers of a broker, beside its heap."""


def workloads(settings: Kafka, *, cluster: str, published_host: str) -> list[Workload]:
    """The workloads of the chosen mode, in the order in which they start."""
    properties = _properties(settings, published_host)
    if settings.mode == "zookeeper":
        properties |= {"broker.id": "1", "zookeeper.connect": str(ZOOKEEPER), "zookeeper.session.timeout.ms": "6000"}
        return [_zookeeper(settings.zookeeper), _broker(settings, properties, {})]
    properties |= {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.listener.names": "CONTROLLER",
        "controller.quorum.voters": f"1@localhost:{CONTROLLER}",
    }
    return [_broker(settings, properties, {"CLUSTER_ID": _cluster_id(cluster)})]


def _properties(settings: Kafka, published_host: str) -> dict[str, str]:
    """The broker's properties of either mode.

    A client is sent to the address the broker advertises, so containers and people each need a listener of
    their own.
    """
    listeners = {"INTERNAL": f"0.0.0.0:{ENDPOINT.port}", "EXTERNAL": f"0.0.0.0:{PUBLISHED}"}
    advertised = {"INTERNAL": str(ENDPOINT), "EXTERNAL": f"{published_host}:{settings.port}"}
    if settings.mode == "kraft":
        listeners["CONTROLLER"] = f"localhost:{CONTROLLER}"
    return {
        "listeners": ",".join(f"{name}://{address}" for name, address in listeners.items()),
        "advertised.listeners": ",".join(f"{name}://{address}" for name, address in advertised.items()),
        "listener.security.protocol.map": ",".join(f"{name}:PLAINTEXT" for name in listeners),
        "inter.broker.listener.name": "INTERNAL",
        "log.dirs": DATA,
        # One broker: nothing can be kept twice.
        "offsets.topic.replication.factor": "1",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        # 50 partitions by default, of which a single broker has no use; an existing topic keeps its own number.
        "offsets.topic.num.partitions": "5",
        "transaction.state.log.num.partitions": "5",
        "group.initial.rebalance.delay.ms": "0",
    }


def _broker(settings: Kafka, properties: Mapping[str, str], environment: Mapping[str, str]) -> Workload:
    by_zookeeper = settings.mode == "zookeeper"
    return Workload(
        name=ENDPOINT.workload,
        kind=Kind.STATEFUL,
        image=settings.broker_image,
        user=USER,
        command=("bash", f"{CONFIGURATION}/start.sh"),
        environment={
            "KAFKA_HEAP_OPTS": f"-Xms{settings.heap_mib // 2}m -Xmx{settings.heap_mib}m",
            # A collector and a compiler that suit a heap of this size: a third less memory than the defaults.
            "KAFKA_JVM_PERFORMANCE_OPTS": "-XX:+UseSerialGC -XX:TieredStopAtLevel=1",
            "LOG_DIR": "/tmp/logs",  # noqa: S108 - a mount of its own
            **environment,
        },
        ports=(
            Port(name="internal", number=ENDPOINT.port),
            Port(name="external", number=PUBLISHED, publish=settings.port),
        ),
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
        volumes=(Volume(name=f"kafka-{settings.mode}-data", mount=DATA),),
        scratch=(Scratch(path="/tmp", size_mib=64),),  # noqa: S108 - a mount of its own
        memory_mib=settings.heap_mib + OUTSIDE_HEAP_MIB,
        readiness=Probe(check=Exec(command=("bash", f"{CONFIGURATION}/ready.sh")), startup_s=120, period_s=2),
        needs=(ZOOKEEPER.workload,) if by_zookeeper else (),
        calls=(ZOOKEEPER.workload,) if by_zookeeper else (),
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
    )


def _cluster_id(cluster: str) -> str:
    """Kafka's form of a UUID, always the same for the same stack, so that a kept volume is taken back."""
    return base64.urlsafe_b64encode(hashlib.sha256(f"pti-calendar/{cluster}".encode()).digest()[:16]).decode()[:22]


def _lines(properties: Mapping[str, str]) -> str:
    return "".join(f"{name}={value}\n" for name, value in properties.items())
