"""A broker's `server.properties`."""

from __future__ import annotations

from components.stores.kafka.retention import MIB, retention
from settings.stores.kafka import KafkaSettings
from workloads import RECOVERY_S, Endpoint

ENDPOINT = Endpoint("kafka", 19092)
ZOOKEEPER = Endpoint("zookeeper", 2181)
EXTERNAL_PORT = 9092
CONTROLLER_PORT = 9093

DATA_MOUNT = "/var/lib/kafka/data"
DATA_DIRECTORY = f"{DATA_MOUNT}/logs"
"""The data directory is below the mount point, because a broker would treat `lost+found` there as a partition and stop.
No topic can have a folder with this name."""

LOG_CLEANER_MIB = 128
"""Kafka's default for the log cleaner's buffer. A broker allocates it from its heap at startup, for which a heap of 256
MiB is then too small."""

STARTUP_TIMEOUT_MS = str(RECOVERY_S * 1000)
"""Timeout of a starting broker for its dependencies."""

ORDINAL_PLACEHOLDER = "@ordinal@"
NODE_ID_PLACEHOLDER = "@node@"
"""Placeholder that `start.sh` replaces with the broker's number: from 0 in its name, from 1 in its id."""


def properties(settings: KafkaSettings, published: str) -> dict[str, str]:
    """Return the properties of every broker.

    Clients are redirected to the address that the broker advertises. Therefore workloads and users need separate
    listeners, and each of several brokers needs its own name.

    Args:
        published: `host:port` for users' connections to a single broker.
    """
    several = settings.brokers > 1
    own_name = f"{ENDPOINT.workload}-{ORDINAL_PLACEHOLDER}.{ENDPOINT.workload}-peers" if several else ENDPOINT.workload
    listeners = {"INTERNAL": f"0.0.0.0:{ENDPOINT.port}"}
    advertised = {"INTERNAL": f"{own_name}:{ENDPOINT.port}"}
    if not several:
        listeners["EXTERNAL"] = f"0.0.0.0:{EXTERNAL_PORT}"
        advertised["EXTERNAL"] = published
    if settings.mode == "kraft":
        listeners["CONTROLLER"] = f"{'0.0.0.0' if several else 'localhost'}:{CONTROLLER_PORT}"  # noqa: S104 - of a container
        coordination = {
            "process.roles": "broker,controller",
            "node.id": NODE_ID_PLACEHOLDER,
            "controller.listener.names": "CONTROLLER",
            "controller.quorum.voters": ",".join(_voters(settings.brokers)),
            # A broker exits by itself after a minute without a quorum. The others may be down for longer.
            "initial.broker.registration.timeout.ms": STARTUP_TIMEOUT_MS,
            **retention(settings).metadata_properties,
        }
    else:
        coordination = {
            "broker.id": NODE_ID_PLACEHOLDER,
            "zookeeper.connect": str(ZOOKEEPER),
            "zookeeper.session.timeout.ms": "6000",
            # The default is the session timeout: a broker that starts before ZooKeeper is back would exit.
            "zookeeper.connection.timeout.ms": STARTUP_TIMEOUT_MS,
        }
    return {
        "listeners": ",".join(f"{name}://{address}" for name, address in listeners.items()),
        "advertised.listeners": ",".join(f"{name}://{address}" for name, address in advertised.items()),
        "listener.security.protocol.map": ",".join(f"{name}:PLAINTEXT" for name in listeners),
        "inter.broker.listener.name": "INTERNAL",
        "log.dirs": DATA_DIRECTORY,
        # Number of logs that are recovered in parallel after a crash.
        "num.recovery.threads.per.data.dir": "4",
        "num.partitions": str(settings.partitions),
        **_replication(settings),
        **retention(settings).properties,
        "log.cleaner.dedupe.buffer.size": str(min(LOG_CLEANER_MIB, settings.heap_mib // 8) * MIB),
        "group.initial.rebalance.delay.ms": "0",
        **coordination,
    }


def _replication(settings: KafkaSettings) -> dict[str, str]:
    replicas, in_sync = settings.replicas, min(2, settings.brokers)
    return {
        "default.replication.factor": str(replicas),
        "min.insync.replicas": str(in_sync),
        "offsets.topic.replication.factor": str(replicas),
        "transaction.state.log.replication.factor": str(replicas),
        "transaction.state.log.min.isr": str(in_sync),
    }


def _voters(brokers: int) -> list[str]:
    if brokers == 1:
        return [f"1@localhost:{CONTROLLER_PORT}"]
    name = ENDPOINT.workload
    return [f"{number + 1}@{name}-{number}.{name}-peers:{CONTROLLER_PORT}" for number in range(brokers)]
