"""Tests of each image: its user, writable paths, configuration, and expected responses.

The order follows the dependencies: Kafka needs ZooKeeper, and the tools need their servers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A container of an image under test."""

    name: str
    """Name of the container in the network."""

    image: str
    user: str
    """`uid:gid`."""

    ready: str
    """Shell command in the container that succeeds once the server responds."""

    checks: tuple[tuple[str, str], ...]
    """(shell command in the container, regular expression that its output must match)."""

    scratch: tuple[str, ...] = ("/tmp",)  # noqa: S108 - a path in the container
    """Writable, empty paths."""

    data: tuple[str, ...] = ()
    """Volumes: writable, with the image's own content and owner."""

    environment: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    """Maps paths to contents, mounted read-only."""

    command: tuple[str, ...] = ()


PASSWORD = "p@ss 'w\"rd"
MONITOR_PASSWORD = "p@ss'w\"rd"
PGADMIN_LOGIN = Path(__file__).with_name("pgadmin_login.py").read_text()
KAFKA_BIN = "/opt/kafka/bin"
KAFKA_READY = "exec bash -c '</dev/tcp/127.0.0.1/9092'"
REPLICATION = "offsets.topic.replication.factor=1\nlog.dirs=/var/lib/kafka/data\n"
KRAFT = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@localhost:9093
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://:9092,CONTROLLER://:9093
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
advertised.listeners=PLAINTEXT://kraft:9092
"""


def kafka(name: str, image: str, properties: str, start: str, tools: tuple[tuple[str, str], ...]) -> Trial:
    """Return a broker with its data on a volume, and a check that sends a message through it."""
    server = f"--bootstrap-server {name}:9092"
    return Trial(
        name=name,
        image=image,
        user="1000:1000",
        ready=KAFKA_READY,
        scratch=("/tmp", "/opt/kafka/logs"),  # noqa: S108
        data=("/var/lib/kafka/data",),
        environment={"KAFKA_HEAP_OPTS": "-Xms192m -Xmx320m"},
        files={"/config/server.properties": properties + REPLICATION},
        command=("bash", "-c", start),
        checks=(
            (f"{KAFKA_BIN}/kafka-topics.sh {server} --create --topic words --partitions 2", "Created topic words"),
            (f"echo hello | {KAFKA_BIN}/kafka-console-producer.sh {server} --topic words; echo sent", "sent"),
            (
                f"{KAFKA_BIN}/kafka-console-consumer.sh {server} --topic words --from-beginning --max-messages 1"
                " --timeout-ms 20000",
                "hello",
            ),
            (f"{KAFKA_BIN}/kafka-broker-api-versions.sh {server}", r"Produce\(0\)"),
            *((f"{KAFKA_BIN}/{tool} {server}", expected) for tool, expected in tools),
        ),
    )


START_KAFKA = f"exec {KAFKA_BIN}/kafka-server-start.sh /config/server.properties"
FORMAT_COMMAND = (
    f"{KAFKA_BIN}/kafka-storage.sh format -t 4L6g3nShT-eMCtK--X86sw -c /config/server.properties --ignore-formatted"
)

TRIALS = (
    Trial(
        name="postgres",
        image="postgres:18.6",
        user="999:999",
        scratch=("/tmp", "/var/run/postgresql"),  # noqa: S108
        data=("/var/lib/postgresql",),
        environment={"POSTGRES_PASSWORD_FILE": "/run/secrets/password", "POSTGRES_DB": "app"},
        files={
            "/run/secrets/password": PASSWORD,
            "/docker-entrypoint-initdb.d/1.sql": "CREATE TABLE seeded (i int);"
            f"CREATE ROLE watcher LOGIN PASSWORD $quoted${MONITOR_PASSWORD}$quoted$ IN ROLE pg_monitor;",
            "/config/pgpass": f"*:*:*:*:{PASSWORD}",
        },
        command=("postgres", "-c", "shared_buffers=64MB"),
        ready="pg_isready -q -h 127.0.0.1 -U postgres -d app",
        checks=(
            (
                "psql -U postgres -d app -Atc 'SHOW shared_buffers; SHOW data_directory'",
                "64MB\n/var/lib/postgresql/18/d",
            ),
            ("psql -U postgres -d app -Atc 'SHOW server_version' -c '\\dt'", r"18\.6\npublic\|seeded"),
            ("psql -h postgres -U postgres -w -d app -c ''", "no password supplied"),
            (
                "install -m 600 /config/pgpass /tmp/pgpass;"
                "PGPASSFILE=/tmp/pgpass psql -h postgres -U postgres -w -d app -Atc 'SELECT 41 + 1'",
                "42",
            ),
            ("pg_dump -U postgres -Fc app >/tmp/dump && pg_restore --list /tmp/dump", "TABLE public seeded"),
            ("pg_dumpall -U postgres --globals-only", "CREATE ROLE postgres"),
        ),
    ),
    Trial(
        name="redis",
        image="redis:8.10.1",
        user="999:999",
        data=("/data",),
        files={
            "/config/redis.conf": "appendonly yes\naclfile /config/users.acl\nmaxmemory 64mb\n",
            "/config/users.acl": "user default on >secret ~* &* +@all\n",
        },
        command=("redis-server", "/config/redis.conf"),
        ready="redis-cli ping",
        checks=(
            ("redis-cli ping", "NOAUTH"),
            ("REDISCLI_AUTH=secret redis-cli -h redis set word hello", "OK"),
            ("ls /data", "appendonlydir"),
        ),
    ),
    Trial(
        name="zookeeper",
        image="zookeeper:3.9.5",
        user="1000:1000",
        scratch=("/tmp", "/logs"),  # noqa: S108
        data=("/conf", "/data", "/datalog"),
        environment={"ZK_SERVER_HEAP": "96", "ZOO_4LW_COMMANDS_WHITELIST": "ruok, srvr"},
        ready="echo ruok | nc -w 2 127.0.0.1 2181 | grep -q imok",
        checks=(
            ("zkServer.sh status", "Mode: standalone"),
            ("zkCli.sh -server zookeeper:2181 ls /", r"\[zookeeper\]"),
            ("wget -q -O - http://localhost:8080/commands/ruok", '"error" : null'),
        ),
    ),
    kafka(
        "kafka",
        "apache/kafka:3.9.1",
        "broker.id=1\nlisteners=PLAINTEXT://:9092\nadvertised.listeners=PLAINTEXT://kafka:9092\n"
        "zookeeper.connect=zookeeper:2181\n",
        START_KAFKA,
        tools=(("kafka-configs.sh --entity-type brokers --entity-name 1 --describe", "broker 1"),),
    ),
    kafka(
        "kraft",
        "apache/kafka:4.3.1",
        KRAFT,
        f"{FORMAT_COMMAND} && {START_KAFKA}",
        tools=(("kafka-cluster.sh cluster-id", "4L6g3nShT-eMCtK--X86sw"),),
    ),
    Trial(
        name="pgadmin",
        image="dpage/pgadmin4:9.17",
        user="5050:0",
        data=("/var/lib/pgadmin",),
        environment={
            "PGADMIN_DEFAULT_EMAIL": "admin@example.com",
            "PGADMIN_DEFAULT_PASSWORD_FILE": "/run/secrets/password",
            "PGADMIN_LISTEN_PORT": "5050",
            "PGADMIN_DISABLE_POSTFIX": "1",
            "PGPASS_FILE": "/run/secrets/pgpass",
            "PGADMIN_CUSTOM_CONFIG_DISTRO_FILE": "/var/lib/pgadmin/config_distro.py",
        },
        files={
            "/run/secrets/password": PASSWORD,
            "/run/secrets/pgpass": f"postgres:5432:*:postgres:{PASSWORD}",
            "/pgadmin4/servers.json": '{"Servers": {"1": {"Name": "PTI", "Group": "Servers", "Host": "postgres", '
            '"Port": 5432, "MaintenanceDB": "app", "Username": "postgres", "SSLMode": "prefer", '
            '"PassFile": "/.pgpass"}}}',
            "/login.py": PGADMIN_LOGIN,
        },
        ready="wget -q -O - http://localhost:5050/misc/ping | grep -q PING",
        checks=(("/venv/bin/python3 /login.py", "Server connected"),),
    ),
    Trial(
        name="redis-commander",
        image="ghcr.io/joeferner/redis-commander:0.9.1",
        user="10000:0",
        environment={
            "REDIS_HOST": "redis",
            "REDIS_PASSWORD_FILE": "/run/secrets/redis",
            "NOSAVE": "true",
        },
        files={"/run/secrets/redis": "secret"},
        ready="bin/healthcheck.js",
        checks=(("wget -q -O - http://localhost:8081/apiv2/server/info", r'"Redis version","value":"8\.'),),
    ),
    Trial(
        name="kafka-ui",
        image="ghcr.io/kafbat/kafka-ui:v1.5.0",
        user="100:101",
        environment={
            "JAVA_OPTS": "-Xmx192m",
            "KAFKA_CLUSTERS_0_NAME": "pti",
            "KAFKA_CLUSTERS_0_BOOTSTRAPSERVERS": "kafka:9092",
        },
        ready="wget -q -O - http://localhost:8080/actuator/health",
        checks=(
            ("wget -q -O - http://localhost:8080/api/clusters", '"status":"online".*"brokerCount":1'),
            ("wget -q -O - http://localhost:8080/api/clusters/pti/topics", '"words"'),
        ),
    ),
)
