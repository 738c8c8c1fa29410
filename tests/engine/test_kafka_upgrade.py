"""Kafka's upgrade from 3.9 to 4 in KRaft mode: what survives it, the way back, and where it ends."""

from __future__ import annotations

import pytest

from settings.stores.kafka import KafkaSettings
from tests.engine.conftest import MakeBrokers, MakeVolume
from tests.engine.kafka_brokers import Brokers
from tests.engine.waiting import until
from tests.failures import FailureRecord

OLD = KafkaSettings(mode="kraft", storage_gib=20, image="apache/kafka:3.9.1")
NEW = KafkaSettings(mode="kraft", storage_gib=20, image="apache/kafka:4.3.1")
GROUP = "readers"


@pytest.fixture
def brokers(make_brokers: MakeBrokers) -> Brokers:
    """The old broker, not started."""
    return make_brokers(OLD)


def features(brokers: Brokers, command: str) -> str:
    """Run the image's `kafka-features.sh`, by its class."""
    # The local image has no script for it.
    return brokers.tool(
        "./kafka-run-class.sh org.apache.kafka.tools.FeatureCommand --bootstrap-server $SERVER " + command, check=False
    )


def finalized(brokers: Brokers, feature: str) -> str:
    """Return the finalized level of a feature."""
    for line in features(brokers, "describe").splitlines():
        words = line.split()
        if f"Feature: {feature}" in line:
            return words[words.index("FinalizedVersionLevel:") + 1]
    return ""


def wait_until_committed(brokers: Brokers, count: int) -> None:
    """Wait until the group has this committed offset. A broker that has just started doesn't know its groups yet."""
    until(f"{count} events are committed", lambda: committed(brokers) == count)


def committed(brokers: Brokers) -> int:
    """Return the number of events that the group has committed."""
    shown = brokers.tool(f"./kafka-consumer-groups.sh --bootstrap-server $SERVER --describe --group {GROUP}")
    rows = [line.split() for line in shown.splitlines() if line.startswith(GROUP)]
    return sum(int(row[3]) for row in rows)


def read(brokers: Brokers, count: int) -> None:
    """Read events as the group, and commit them."""
    brokers.tool(
        f"./kafka-console-consumer.sh --bootstrap-server $SERVER --topic kept --group {GROUP} --from-beginning "
        f"--max-messages {count} --timeout-ms 60000 >/dev/null 2>&1"
    )


def test_events_and_offsets_survive_and_the_old_image_works_until_the_metadata_is_upgraded(
    brokers: Brokers, make_volume: MakeVolume, failure_record: FailureRecord
) -> None:
    failure_record.begin("Kafka is upgraded from 3.9 to 4", on="Kafka", effect="the broker is replaced")
    volume = make_volume(400)

    def replace_by(settings: KafkaSettings) -> None:
        brokers.stop(0)
        brokers.configure(settings)
        brokers.start(0, volume)
        brokers.wait_until_ready(0)

    brokers.start(0, volume)
    brokers.wait_until_ready(0)
    brokers.produce("kept", range(1000))
    read(brokers, 300)
    wait_until_committed(brokers, 300)
    level = finalized(brokers, "metadata.version")
    assert level == "3.9-IV0"

    with failure_record.measure_recovery():
        replace_by(NEW)
    assert finalized(brokers, "metadata.version") == level
    wait_until_committed(brokers, 300)
    brokers.produce("kept", range(1000, 1100))
    read(brokers, 100)

    # The way back, with what was written meanwhile.
    replace_by(OLD)
    assert sorted(brokers.consume("kept", 1100)) == [*range(1100)]
    wait_until_committed(brokers, 400)
    brokers.produce("kept", range(1100, 1200))

    replace_by(NEW)
    assert "metadata.version was upgraded" in features(brokers, "upgrade --release-version 4.3")
    assert finalized(brokers, "metadata.version").startswith("4.3")
    wait_until_committed(brokers, 400)
    assert sorted(brokers.consume("kept", 1200)) == [*range(1200)]

    # There is no way back now; the volume isn't damaged by the attempt.
    brokers.stop(0)
    brokers.configure(OLD)
    brokers.start(0, volume)
    assert "No MetadataVersion with feature level" in brokers.wait_until_ended(0)
    brokers.remove(0)
    brokers.configure(NEW)
    brokers.start(0, volume)
    brokers.wait_until_ready(0)
    assert sorted(brokers.consume("kept", 1200)) == [*range(1200)]
    wait_until_committed(brokers, 400)
    failure_record.set_lost("nothing: 1200 of 1200 events, and the committed offsets")
