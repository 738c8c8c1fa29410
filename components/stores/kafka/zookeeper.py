"""ZooKeeper: one server for one broker."""

from __future__ import annotations

from components.assets import asset, assets
from components.stores.kafka.memory import ZOOKEEPER_SCRATCH_MIB, zookeeper_memory
from components.stores.kafka.properties import ZOOKEEPER
from settings.stores.kafka import ZooKeeperSettings
from workloads import RECOVERY_S, Exec, FileSet, Liveness, Port, Probe, Scratch, StatefulService, TcpConnect, Volume

UID = 1000


def zookeeper(settings: ZooKeeperSettings) -> StatefulService:
    """Return the server, with a volume for its snapshots and one for its transaction log."""
    memory = zookeeper_memory(settings.heap_mib)
    scripts = {name: asset(f"volume/{name}") for name in ("below.sh", "marker.sh")}
    return StatefulService(
        name=ZOOKEEPER.workload,
        image=settings.image,
        user=UID,
        command=("bash", "/conf/start.sh"),
        environment={
            "ZK_SERVER_HEAP": str(settings.heap_mib),
            "SERVER_JVMFLAGS": f"-XX:+UseSerialGC -XX:-UsePerfData {memory.options}",
        },
        ports=(Port(name="client", number=ZOOKEEPER.port, publish=settings.port),),
        file_sets=(FileSet(name="configuration", directory="/conf", files={**assets("zookeeper"), **scripts}),),
        volumes=(
            Volume(name="zookeeper-data", mount="/data"),
            Volume(name="zookeeper-log", mount="/datalog"),
        ),
        scratch=(
            Scratch(path="/tmp", size_mib=ZOOKEEPER_SCRATCH_MIB),  # noqa: S108 - a mount of its own
            Scratch(path="/logs", size_mib=ZOOKEEPER_SCRATCH_MIB),
        ),
        memory_mib=memory.limit_mib,
        readiness=Probe(check=Exec(command=("bash", "/conf/ready.sh")), startup_s=60, period_s=2),
        liveness=Liveness(check=TcpConnect(port=ZOOKEEPER.port), startup_s=RECOVERY_S),
    )
