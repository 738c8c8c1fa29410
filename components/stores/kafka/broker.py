"""The brokers' workload."""

from __future__ import annotations

import base64
import hashlib

from components.assets import asset, assets
from components.stores.kafka.memory import BROKER_SCRATCH_MIB, IMAGE_VOLUMES, broker_memory
from components.stores.kafka.properties import (
    CONTROLLER_PORT,
    DATA_MOUNT,
    ENDPOINT,
    EXTERNAL_PORT,
    ZOOKEEPER,
    properties,
)
from settings.stores.kafka import KafkaSettings
from workloads import (
    RECOVERY_S,
    Exec,
    FileSet,
    FixedSetting,
    Liveness,
    Port,
    Probe,
    Scratch,
    StatefulService,
    TcpConnect,
    Volume,
)

CONFIGURATION_DIRECTORY = "/etc/kafka-broker"
UID = 1000

MODE_CHANGE_REMEDY = (
    "The other mode starts without topics, on its own volume. This volume stays, and is used again once the "
    "mode is restored: docs/store-upgrades.md#kafka-from-zookeeper-to-kraft"
)
BROKER_COUNT_REMEDY = "docs/stores.md#another-number-of-brokers describes how to change the number of brokers."
STACK_NAME_REMEDY = "Restore the stack's former name: pulumi stack rename."


def broker(settings: KafkaSettings, *, published: str, cluster: str) -> StatefulService:
    """Return the workload: one replica per broker, each with a volume."""
    uses_zookeeper, several = settings.mode == "zookeeper", settings.brokers > 1
    memory, cluster_id = broker_memory(settings.heap_mib), _cluster_id(cluster)
    scripts = {name: asset(f"volume/{name}") for name in ("below.sh", "marker.sh")}
    return StatefulService(
        name=ENDPOINT.workload,
        image=settings.broker_image,
        user=UID,
        replicas=settings.brokers,
        command=("bash", f"{CONFIGURATION_DIRECTORY}/start.sh"),
        environment={
            "BROKERS": str(settings.brokers),
            "KAFKA_HEAP_OPTS": f"-Xms{settings.heap_mib // 2}m -Xmx{settings.heap_mib}m",
            "KAFKA_JVM_PERFORMANCE_OPTS": f"{memory.options} {settings.jvm_options}",
            **({"PEERS": f"{ENDPOINT.workload}-peers"} if several else {}),
            **({} if uses_zookeeper else {"CLUSTER_ID": cluster_id}),
        },
        ports=(
            Port(name="internal", number=ENDPOINT.port),
            *(
                [Port(name="controller", number=CONTROLLER_PORT)]
                if several
                else [Port(name="external", number=EXTERNAL_PORT, publish=settings.port)]
            ),
        ),
        peer_ports=(ENDPOINT.port, CONTROLLER_PORT) if several else (),
        file_sets=(
            FileSet(
                name="configuration",
                directory=CONFIGURATION_DIRECTORY,
                files={
                    "server.properties": _properties_text(properties(settings, published)),
                    **assets("kafka"),
                    **scripts,
                },
            ),
        ),
        volumes=(
            Volume(
                # A data directory belongs to its mode: each mode has its own volume, and none is converted.
                name=f"kafka-{settings.mode}-data",
                mount=DATA_MOUNT,
                size_gib=settings.storage_gib,
                fixed=(
                    FixedSetting("kafka.mode", settings.mode, MODE_CHANGE_REMEDY),
                    *(
                        ()
                        if uses_zookeeper
                        else (
                            FixedSetting("kafka.brokers", str(settings.brokers), BROKER_COUNT_REMEDY),
                            FixedSetting("Kafka's cluster id", cluster_id, STACK_NAME_REMEDY),
                        )
                    ),
                ),
            ),
        ),
        scratch=(
            Scratch(path="/tmp", size_mib=BROKER_SCRATCH_MIB),  # noqa: S108 - a mount of its own
            *(Scratch(path=path, size_mib=1) for path in IMAGE_VOLUMES),
        ),
        memory_mib=memory.limit_mib,
        cpu_request=settings.cpu_request,
        # A broker is ready once it has caught up with the others, which takes as long as the replication takes.
        readiness=Probe(
            check=Exec(command=("bash", f"{CONFIGURATION_DIRECTORY}/ready.sh")),
            startup_s=600 if several else 120,
            period_s=2,
        ),
        # A broker keeps its port closed while it recovers its logs after a crash.
        liveness=Liveness(check=TcpConnect(port=ENDPOINT.port), failures=12, startup_s=RECOVERY_S),
        depends_on=(ZOOKEEPER.workload,) if uses_zookeeper else (),
        connects_to=(ZOOKEEPER,) if uses_zookeeper else (),
        # A stopping broker hands over its partitions and flushes its logs; a killed one checks them at the next start.
        stop_grace_s=120,
    )


def _cluster_id(cluster: str) -> str:
    """Return Kafka's cluster ID, which is always the same for a stack, so that a broker accepts its retained volume."""
    return base64.urlsafe_b64encode(hashlib.sha256(f"pti-calendar/{cluster}".encode()).digest()[:16]).decode()[:22]


def _properties_text(found: dict[str, str]) -> str:
    return "".join(f"{name}={value}\n" for name, value in found.items())
