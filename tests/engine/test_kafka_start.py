"""The broker's own start, in its image."""

from __future__ import annotations

import secrets
from pathlib import Path

from components.assets import asset
from settings.stores import Kafka
from tests.engine.docker_engine import docker
from tests.engine.waiting import until

PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@localhost:9093
controller.listener.names=CONTROLLER
listeners=INTERNAL://0.0.0.0:19092,CONTROLLER://localhost:9093
advertised.listeners=INTERNAL://localhost:19092
listener.security.protocol.map=INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=INTERNAL
log.dirs=/var/lib/kafka/data
"""


def test_a_cluster_id_that_looks_like_an_option_is_taken(tmp_path: Path) -> None:
    """One in 64 begins with a hyphen: they are hashes of the stack's name."""
    tmp_path.chmod(0o755)
    (tmp_path / "server.properties").write_text(PROPERTIES)
    for name in ("start.sh", "ready.sh"):
        (tmp_path / name).write_text(asset(f"kafka/{name}"))
    name = f"kafka-start-{secrets.token_hex(3)}"
    told = (
        "--env",
        "CLUSTER_ID=-AAAAAAAAAAAAAAAAAAAAA",
        "--env",
        "LOG_DIR=/tmp/logs",
        "--env",
        "KAFKA_HEAP_OPTS=-Xmx256m",
    )
    image = Kafka(mode="kraft").broker_image
    docker(
        "run", "--detach", "--name", name, "--volume", f"{tmp_path}:/kafka:ro", *told, image, "bash", "/kafka/start.sh"
    )
    try:
        until("the broker answers or has ended", lambda: not _runs(name) or _answers(name))
        assert _runs(name), docker("logs", name)
        assert "cluster.id=-AAAAAAAAAAAAAAAAAAAAA" in docker("exec", name, "cat", "/var/lib/kafka/data/meta.properties")
    finally:
        docker("rm", "--force", "--volumes", name)


def _runs(name: str) -> bool:
    return docker("inspect", "--format", "{{.State.Running}}", name).strip() == "true"


def _answers(name: str) -> bool:
    return docker("exec", name, "bash", "-c", "bash /kafka/ready.sh && echo yes", check=False).strip().endswith("yes")
