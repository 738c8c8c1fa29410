"""Failures around a broker's disk: it fills up, or the broker is killed with gigabytes of open segments."""

from __future__ import annotations

import pytest

from settings.stores.kafka import KafkaSettings
from tests.engine.conftest import MakeBrokers, MakeVolume
from tests.engine.kafka_brokers import Brokers, resize
from tests.failures import FailureRecord

SETTINGS = KafkaSettings(mode="kraft", storage_gib=20)
"""The volumes are smaller than real ones, so that events can fill them."""


@pytest.fixture
def brokers(make_brokers: MakeBrokers) -> Brokers:
    """The brokers, not started."""
    return make_brokers(SETTINGS)


def fill(brokers: Brokers, mib: int) -> str:
    """Write events of 1 kB up to a given amount or until the broker refuses; return the names of the producer's errors.

    Stack traces are left out: their last frames depend on whether the broker failed in a write or in the creation of
    the topic.
    """
    waits = {"delivery.timeout.ms": 8000, "request.timeout.ms": 4000, "max.block.ms": 8000}
    limits = " ".join(f"--producer-property {name}={value}" for name, value in waits.items())
    return brokers.tool(
        f"head -c {mib}M /dev/zero | tr '\\0' x | fold -w 1000 | timeout 60 ./kafka-console-producer.sh "
        f"--bootstrap-server $SERVER --topic filling --producer-property acks=all {limits} 2>&1 "
        "| grep -o '[A-Za-z]*Exception' | sort -u",
        check=False,
    )


def test_a_broker_with_a_full_disk_recovers_every_acknowledged_event_once_the_disk_has_grown(
    brokers: Brokers, make_volume: MakeVolume, failure_record: FailureRecord
) -> None:
    effect = "the broker stops, and events are refused until the volume has grown"
    failure_record.begin("A broker's disk is full", on="Kafka", effect=effect)
    volume = make_volume(100)
    brokers.start(0, volume)
    brokers.wait_until_ready(0)
    brokers.produce("acknowledged", range(1000))

    assert "TimeoutException" in fill(brokers, 150)
    assert "No space left on device" in brokers.wait_until_ended(0)
    brokers.remove(0)

    resize(volume, 400)
    with failure_record.measure_recovery():
        brokers.start(0, volume)
        brokers.wait_until_ready(0)
    assert brokers.consume("acknowledged", 1000) == [*range(1000)]
    failure_record.set_lost("nothing: 1000 of 1000 acknowledged events")


def test_a_killed_broker_reports_its_recovery_and_has_every_acknowledged_event(
    brokers: Brokers, make_volume: MakeVolume, failure_record: FailureRecord
) -> None:
    effect = "it isn't ready while it recovers its logs, and reports its progress"
    failure_record.begin("A broker is killed (SIGKILL) with 120 MB of open segments", on="Kafka", effect=effect)
    volume = make_volume(400)
    brokers.start(0, volume)
    brokers.wait_until_ready(0)
    brokers.produce("acknowledged", range(1000))
    fill(brokers, 120)
    with failure_record.measure_recovery():
        brokers.remove(0)
        brokers.start(0, volume)
        printed = brokers.wait_until_ready(0)
    assert any("recovering: " in text for text in printed), printed
    assert brokers.consume("acknowledged", 1000) == [*range(1000)]
    failure_record.set_lost("nothing: 1000 of 1000 acknowledged events")
