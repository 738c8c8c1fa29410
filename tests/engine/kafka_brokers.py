"""Real brokers in the stack's image, with the rendered workload's files, variables and limits.

Each has its own volume: a small ext4 file system in a file, with `lost+found`, owned as with `fsGroup`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from components.stores.kafka.broker import UID, broker
from components.stores.kafka.properties import DATA_MOUNT
from settings.stores.kafka import KafkaSettings
from testbed import ext4
from tests.engine.docker_engine import docker
from tests.engine.waiting import until
from workloads import Exec

BIN = "/opt/kafka/bin"
TOOL_HEAP = "KAFKA_HEAP_OPTS=-Xmx192m"


@contextmanager
def volume(directory: Path, size_mib: int) -> Iterator[Path]:
    """Mount a newly created file system."""
    mounted = directory / "volume"
    ext4.mount(directory / "image", mounted, size_mib)
    try:
        shutil.chown(mounted, group=UID)
        mounted.chmod(0o2775)
        yield mounted
    finally:
        ext4.unmount(mounted)


def resize(mounted: Path, size_mib: int) -> None:
    """Resize a volume, which must not be in use."""
    image = mounted.with_name("image")
    ext4.unmount(mounted)
    with image.open("r+b") as file:
        file.truncate(size_mib * ext4.MIB)
    for command in (["e2fsck", "-f", "-p", str(image)], ["resize2fs", str(image)]):
        subprocess.run(command, check=True, capture_output=True)
    ext4.mount(image, mounted, size_mib)


@dataclass
class Brokers:
    """A network with brokers, named as in a cluster; `close` removes everything."""

    name: str
    """Name of the network, and prefix of the containers' names."""

    directory: Path
    """Directory for the configurations, readable by every user."""

    settings: KafkaSettings
    properties: dict[str, str] = field(default_factory=dict)
    """Properties that differ in a test, such as time limits."""

    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.directory.mkdir()
        for above in (self.directory, *self.directory.parents):
            if above.stat().st_uid == os.geteuid():
                above.chmod(above.stat().st_mode | 0o055)
        docker("network", "create", self.name)

    def configure(self, settings: KafkaSettings) -> None:
        """Change settings for the next starts."""
        self.settings = settings

    def start(self, number: int, volume: Path) -> None:
        """Start broker `number` (from 0) without waiting for it."""
        workload = broker(self.settings, published="localhost:9092", cluster="test")
        configuration = self.directory / f"configuration-{number}-of-{self.settings.brokers}"
        configuration.mkdir(exist_ok=True)
        for name, content in workload.file_sets[0].files.items():
            assert isinstance(content, str)
            (configuration / name).write_text(content)
        with (configuration / "server.properties").open("a") as file:
            file.writelines(f"{key}={value}\n" for key, value in self.properties.items())
        environment = {**workload.environment, **self.environment}
        one = self.settings.brokers == 1
        docker(
            *("run", "--detach", "--init", "--name", self.container(number), "--network", self.name),
            *("--hostname", "kafka" if one else f"kafka-{number}"),
            *("--network-alias", "kafka" if one else f"kafka-{number}.kafka-peers"),
            *("--read-only", "--cap-drop", "ALL", "--user", f"{workload.user}:{workload.user}"),
            *("--memory", f"{workload.memory_mib}m"),
            *(
                part
                for scratch in workload.scratch
                for part in ("--tmpfs", f"{scratch.path}:rw,exec,size={scratch.size_mib}m,mode=1777")
            ),
            *(part for key, value in environment.items() for part in ("--env", f"{key}={value}")),
            *("--volume", f"{configuration}:{workload.file_sets[0].directory}:ro"),
            *("--volume", f"{volume}:{DATA_MOUNT}"),
            *(self.settings.broker_image, *workload.command),
        )

    def remove(self, number: int) -> None:
        """Kill the broker without a shutdown; the volume stays."""
        docker("rm", "--force", "--volumes", self.container(number))

    def stop(self, number: int) -> None:
        """Stop the broker gracefully, as an update does."""
        docker("stop", "--time", "120", self.container(number))
        self.remove(number)

    def probe(self, number: int) -> tuple[bool, str]:
        """Return the readiness probe's result and its output."""
        workload = broker(self.settings, published="localhost:9092", cluster="test")
        assert workload.readiness
        assert isinstance(workload.readiness.check, Exec)
        command = ["docker", "exec", self.container(number), *workload.readiness.check.command]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        return done.returncode == 0, done.stdout.strip()

    def wait_until_ready(self, number: int) -> list[str]:
        """Wait until the readiness probe succeeds, and return its distinct outputs until then.

        Raises:
            AssertionError: the broker has exited.
        """
        printed: dict[str, None] = {}

        def ready() -> bool:
            assert self.runs(number), self.log(number)[-3000:]
            answered, text = self.probe(number)
            printed[text] = None
            return answered

        until(f"broker {number} is ready", ready)
        return list(printed)

    def wait_until_ended(self, number: int) -> str:
        """Wait until the broker has exited; return its log."""
        until(f"broker {number} has ended", lambda: not self.runs(number))
        return self.log(number)

    def wait_for_log(self, number: int, text: str) -> None:
        """Wait until the broker has logged the text."""
        until(f"broker {number} logs {text!r}", lambda: text in self.log(number))

    def runs(self, number: int) -> bool:
        """Return whether the container runs."""
        return docker("inspect", "--format", "{{.State.Running}}", self.container(number)).strip() == "true"

    def log(self, number: int) -> str:
        """Return the broker's log."""
        return docker("logs", self.container(number))

    def inside(self, number: int, *command: str) -> str:
        """Run a command in the container and return its output."""
        return docker("exec", self.container(number), *command)

    def tool(self, script: str, check: bool = True) -> str:
        """Run a line of bash with Kafka's own tools, and return its output; `$SERVER` contains the brokers'
        addresses."""
        names = ["kafka"] if self.settings.brokers == 1 else [f"kafka-{i}.kafka-peers" for i in range(3)]
        server = "SERVER=" + ",".join(f"{name}:19092" for name in names)
        run = ("run", "--rm", "--network", self.name, "--env", TOOL_HEAP, "--env", server, "--workdir", BIN)
        return docker(*run, self.settings.broker_image, "bash", "-o", "pipefail", "-c", script, check=check)

    def produce(self, topic: str, events: range, compression: str = "none") -> None:
        """Write the numbers as events, each acknowledged by all in-sync replicas; fail if one wasn't."""
        properties = f"--producer-property acks=all --producer-property compression.type={compression}"
        printed = self.tool(
            f"seq {events.start} {events.stop - 1} | ./kafka-console-producer.sh --bootstrap-server $SERVER "
            f"--topic {topic} {properties} 2>&1"
        )
        assert " ERROR " not in printed, printed

    def consume(self, topic: str, count: int) -> list[int]:
        """Return the numbers of the first `count` events, sorted."""
        printed = self.tool(
            f"./kafka-console-consumer.sh --bootstrap-server $SERVER --topic {topic} --from-beginning "
            f"--max-messages {count} --timeout-ms 60000 2>/dev/null",
            check=False,
        )
        return sorted(int(line) for line in printed.split() if line.isdigit())

    def close(self) -> None:
        """Remove the containers and the network."""
        found = docker("ps", "--all", "--quiet", "--filter", f"network={self.name}").split()
        if found:
            docker("rm", "--force", "--volumes", *found)
        docker("network", "rm", self.name)

    def container(self, number: int) -> str:
        """Return the name of a container."""
        return f"{self.name}-{number}"
