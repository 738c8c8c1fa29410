"""Kafka: brokers coordinated by ZooKeeper or by themselves (KRaft), or a managed one."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi

import contract.outputs as contract
from backends.base import DeployOptions
from components.exporter import NOBODY_UID, exporter
from components.exporter import SECRETS_DIRECTORY as EXPORTER_SECRETS
from components.stores.kafka.broker import broker
from components.stores.kafka.properties import ENDPOINT, EXTERNAL_PORT
from components.stores.kafka.zookeeper import zookeeper
from components.stores.store import Store, StoreArgs
from settings.monitoring import ExportersSettings
from settings.stores.kafka import KAFKA, ExternalKafkaSettings
from settings.tools import DevToolsSettings, KafkaUiSettings
from workloads import RECOVERY_S, Endpoint, ExternalEndpoint, HttpGet, Port, Probe, Scratch, Service, Workload

# kafka_exporter exits if no broker responds at its start (danielqsj/kafka_exporter#303). The container stays and
# restarts it, because an outage of Kafka must not count as restarts. As process 1, a shell ignores a signal without a
# trap.
RESTART_SCRIPT = """
trap 'kill "$child"; exit' TERM INT
while :; do
    kafka_exporter "$@" & child=$!
    wait "$child"
    sleep 5 & child=$!
    wait "$child"
done
"""


@dataclass(frozen=True, kw_only=True)
class KafkaStore(Store[contract.KafkaOutput]):
    """Kafka, run by the stack or managed elsewhere."""

    @property
    def secret(self) -> pulumi.Output[str] | None:
        """Return the password of the user that clients log in as; None if there is no user."""
        return None if self.internal.username is None else self.args.credentials[KAFKA]

    def exporter(self, images: ExportersSettings) -> Workload:
        """Return the exporter of Kafka: brokers, partitions and consumer lag."""
        arguments = [f"--kafka.server={server}" for server in self.internal.bootstrap_servers.split(",")]
        secrets = {}
        if self.internal.security_protocol != "PLAINTEXT":
            arguments.append("--tls.enabled")
        if self.secret is not None:
            arguments += [
                "--sasl.enabled",
                "--sasl.mechanism=scram-sha512",
                f"--sasl.username={self.internal.username}",
            ]
            # The exporter accepts the password only as an argument, which every user of the machine can see. But it
            # also reads arguments from a file: https://github.com/alecthomas/kingpin/blob/v2.4.0/README.md
            arguments.append(f"@{EXPORTER_SECRETS}/arguments")
            secrets["arguments"] = pulumi.Output.concat("--sasl.password=", self.secret, "\n")
        return exporter(
            "kafka",
            image=images.kafka,
            user=NOBODY_UID,
            port=9308,
            command=("sh", "-c", RESTART_SCRIPT, "kafka-exporter"),
            arguments=tuple(arguments),
            secrets=secrets,
            connects_to=self.connects_to,
            depends_on=self.depends_on,
            # Kafka's exporter listens once it is connected to Kafka.
            startup_s=RECOVERY_S,
        )

    def web_tool(self, tools: DevToolsSettings) -> Workload:
        """Return Kafka UI."""
        return _kafka_ui(tools.kafka_ui, self)


def deploy(args: StoreArgs, options: DeployOptions) -> KafkaStore:
    """Deploy the brokers of the chosen mode, unless Kafka is external."""
    settings, backend = args.settings.kafka, args.backend
    if settings.mode == "external":
        return _external(args, settings.external)
    if settings.mode == "zookeeper":
        backend.deploy(zookeeper(settings.zookeeper), options)
    # A single broker has a separate listener for users; several are reached through the platform's listener.
    host, port = backend.addressing.published(Endpoint(ENDPOINT.workload, EXTERNAL_PORT), settings.port)
    published = f"{host}:{port}" if settings.brokers == 1 else f"{backend.addressing.fqdn('kafka')}:{ENDPOINT.port}"
    backend.deploy(broker(settings, published=published, cluster=args.cluster), options)
    return KafkaStore(
        args=args,
        connects_to=(ENDPOINT,),
        depends_on=(ENDPOINT.workload,),
        internal=_plaintext(str(ENDPOINT)),
        published=_plaintext(published),
    )


def _plaintext(servers: str) -> contract.KafkaOutput:
    return contract.KafkaOutput(bootstrap_servers=servers, security_protocol="PLAINTEXT", username=None)


def _external(args: StoreArgs, external: ExternalKafkaSettings) -> KafkaStore:
    servers = [address.rpartition(":") for address in external.bootstrap_servers]
    output = contract.KafkaOutput(
        bootstrap_servers=",".join(external.bootstrap_servers),
        security_protocol=external.security_protocol,
        username=external.username,
    )
    return KafkaStore(
        args=args,
        connects_to=tuple(ExternalEndpoint(host, int(port), external.cidrs) for host, _, port in servers),
        depends_on=(),
        internal=output,
        published=output,
    )


def _kafka_ui(settings: KafkaUiSettings, kafka: KafkaStore) -> Service:
    return Service(
        name="kafka-ui",
        image=settings.image,
        user=100,
        environment={
            "KAFKA_CLUSTERS_0_NAME": "pti-calendar",
            "KAFKA_CLUSTERS_0_BOOTSTRAPSERVERS": kafka.internal.bootstrap_servers,
            "JAVA_OPTS": f"-Xmx{settings.heap_mib}m -XX:+UseSerialGC -XX:TieredStopAtLevel=1",
        },
        ports=(Port(name="http", number=8080, publish=settings.port),),
        scratch=(Scratch(path="/tmp", size_mib=64), Scratch(path="/etc/kafkaui")),  # noqa: S108 - a mount of its own
        memory_mib=settings.heap_mib + 288,
        readiness=Probe(check=HttpGet(port=8080, path="/actuator/health"), startup_s=180),
        connects_to=kafka.connects_to,
    )
