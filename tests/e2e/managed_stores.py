"""PostgreSQL, Redis and Kafka outside the stack, with logins; PostgreSQL and Kafka over TLS.

They are plain containers on the host's network, with client images that trust their certificate.
"""

from __future__ import annotations

import secrets
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from settings.stores.kafka import KafkaSettings
from settings.stores.postgres import PostgresSettings
from settings.stores.redis import RedisSettings
from tests.e2e.self_signed import self_signed
from tests.engine.docker_engine import docker
from tests.engine.waiting import until
from tests.ports import free_ports

ADMIN = "dba"
USER = "pti-calendar"
CERTIFICATE = "/tls/tls.crt"

POSTGRES = """\
install -o postgres -m 600 /tls/tls.key /tmp/key.pem
exec docker-entrypoint.sh postgres -c listen_addresses=$ADDRESS -c port=$PORT -c max_connections=200 \
  -c ssl=on -c ssl_cert_file=/tls/tls.crt -c ssl_key_file=/tmp/key.pem
"""
REDIS = """\
exec redis-server --bind $ADDRESS --port $PORT --requirepass "$PASSWORD" --save ""
"""
KAFKA = """\
cat /tls/tls.key /tls/tls.crt >/tmp/keystore.pem
cat >/tmp/server.properties <<EOF
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@localhost:$CONTROLLER
controller.listener.names=CONTROLLER
listeners=SASL_SSL://$ADDRESS:$PORT,CONTROLLER://localhost:$CONTROLLER
listener.security.protocol.map=SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT
inter.broker.listener.name=SASL_SSL
sasl.enabled.mechanisms=SCRAM-SHA-512
sasl.mechanism.inter.broker.protocol=SCRAM-SHA-512
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=\\
org.apache.kafka.common.security.scram.ScramLoginModule required username="$USER" password="$PASSWORD";
ssl.keystore.type=PEM
ssl.keystore.location=/tmp/keystore.pem
ssl.truststore.type=PEM
ssl.truststore.location=/tls/tls.crt
log.dirs=/tmp/data
offsets.topic.num.partitions=5
offsets.topic.replication.factor=1
group.initial.rebalance.delay.ms=0
EOF
/opt/kafka/bin/kafka-storage.sh format --cluster-id AAAAAAAAAAAAAAAAAAAAAA --config /tmp/server.properties \
  --add-scram "SCRAM-SHA-512=[name=$USER,password=$PASSWORD]"
exec /opt/kafka/bin/kafka-server-start.sh /tmp/server.properties
"""


@dataclass(frozen=True, kw_only=True)
class ManagedStores:
    """Addresses and credentials of the stores."""

    address: str
    postgres_port: int
    redis_port: int
    kafka_port: int
    postgres_container: str
    passwords: Mapping[str, str]
    """Maps configuration keys to values."""

    trusting: Mapping[str, str]
    """Maps each image to a copy that trusts the stores' certificate."""

    def configuration(self) -> dict[str, Any]:
        """Return the configuration of a stack that uses these stores."""
        return {
            "postgres": {
                "mode": "external",
                "external": {"host": self.address, "port": self.postgres_port, "admin": ADMIN, "sslMode": "require"},
            },
            # Kong verifies the certificate's name, and containers can't resolve a name of this machine.
            "redis": {"mode": "external", "external": {"host": self.address, "port": self.redis_port, "tls": False}},
            "kafka": {
                "mode": "external",
                "external": {
                    "bootstrapServers": [f"{self.address}:{self.kafka_port}"],
                    "securityProtocol": "SASL_SSL",
                    "username": USER,
                },
            },
        }

    def sql(self, statement: str) -> list[str]:
        """Run a statement as the administrator in the server's container, and return the rows."""
        psql = ("psql", "-qAt", "-p", str(self.postgres_port), "-U", ADMIN, "-d", "postgres", "-c", statement)
        return docker("exec", self.postgres_container, *psql).splitlines()


@contextmanager
def managed_stores(folder: Path, address: str, images: list[str]) -> Iterator[ManagedStores]:
    """Run the stores on an address of this machine that containers can reach; remove them with their data at the end.

    Args:
        folder: where to put the certificate.
        address: the listen address.
        images: client images that must trust the certificate.
    """
    mark = f"managed-{secrets.token_hex(3)}"
    postgres, redis, kafka, controller = free_ports(4)
    passwords = {f"{store}Password": secrets.token_urlsafe(24) for store in ("postgres", "redis", "kafka")}
    self_signed(folder / "tls", f"IP:{address}")
    trusting = {image: f"{image.rpartition(':')[0]}:{mark}" for image in images}
    try:
        for image, ours in trusting.items():
            _trust(folder, image, ours)
        _run(
            f"{mark}-postgres",
            folder,
            PostgresSettings().image,
            POSTGRES,
            ADDRESS=address,
            PORT=postgres,
            POSTGRES_USER=ADMIN,
            POSTGRES_PASSWORD=passwords["postgresPassword"],
        )
        _run(
            f"{mark}-redis",
            folder,
            RedisSettings().image,
            REDIS,
            ADDRESS=address,
            PORT=redis,
            PASSWORD=passwords["redisPassword"],
        )
        _run(
            f"{mark}-kafka",
            folder,
            KafkaSettings(mode="kraft").broker_image,
            KAFKA,
            ADDRESS=address,
            PORT=kafka,
            CONTROLLER=controller,
            USER=USER,
            PASSWORD=passwords["kafkaPassword"],
        )
        until("PostgreSQL responds", lambda: _answers(f"{mark}-postgres", address, postgres, tls=True))
        until("Redis responds", lambda: _answers(f"{mark}-redis", address, redis, tls=False))
        until("Kafka responds", lambda: _answers(f"{mark}-kafka", address, kafka, tls=True))
        yield ManagedStores(
            address=address,
            postgres_port=postgres,
            redis_port=redis,
            kafka_port=kafka,
            postgres_container=f"{mark}-postgres",
            passwords=passwords,
            trusting=trusting,
        )
    finally:
        docker(
            "rm", "--force", "--volumes", *(f"{mark}-{name}" for name in ("postgres", "redis", "kafka")), check=False
        )
        docker("image", "rm", "--force", *trusting.values(), check=False)


def _trust(folder: Path, image: str, ours: str) -> None:
    """Copy the image with the stores' certificate as the only trusted authority."""
    recipe = f"FROM {image}\nCOPY tls/tls.crt {CERTIFICATE}\nENV SSL_CERT_FILE={CERTIFICATE}\n"
    (folder / "Dockerfile").write_text(recipe)
    docker("build", "--quiet", "--tag", ours, str(folder))


def _run(name: str, folder: Path, image: str, script: str, **variables: str | int) -> None:
    given = [part for key, value in variables.items() for part in ("--env", f"{key}={value}")]
    mounted = ("--volume", f"{folder / 'tls'}:/tls:ro", "--network", "host")
    docker("run", "--detach", "--name", name, *mounted, *given, "--entrypoint", "bash", image, "-euc", script)


def _answers(container: str, address: str, port: int, *, tls: bool) -> bool:
    """Return whether a server responds, with TLS if required. PostgreSQL requires a protocol request before it starts
    TLS."""
    assert docker("inspect", "--format", "{{.State.Running}}", container).strip() == "true", docker("logs", container)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["postgresql"])
    try:
        with socket.create_connection((address, port), 5) as plain:
            if tls:
                context.wrap_socket(plain).close()
            return True
    except OSError:
        return False
