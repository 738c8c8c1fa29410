"""Three brokers: an update restarts one after the other, and empty volumes never outvote a retained one."""

from __future__ import annotations

from settings.stores.kafka import KafkaSettings
from tests.engine.conftest import MakeBrokers, MakeVolume
from tests.engine.kafka_brokers import Brokers
from tests.engine.waiting import until
from tests.failures import FailureRecord

THREE = KafkaSettings(mode="kraft", brokers=3, storage_gib=20)
ONE = KafkaSettings(mode="kraft", storage_gib=20)
CONFIGS = "./kafka-configs.sh --bootstrap-server $SERVER --alter"
THROTTLE = "follower.replication.throttled.rate"


def under_replicated(brokers: Brokers) -> list[str]:
    """Return the partitions that lack an in-sync replica."""
    printed = brokers.tool(
        "./kafka-topics.sh --bootstrap-server $SERVER --describe --under-replicated-partitions 2>/dev/null"
    )
    return [line for line in printed.splitlines() if "Partition:" in line]


def test_a_restarted_broker_is_ready_once_it_has_caught_up(
    make_brokers: MakeBrokers, make_volume: MakeVolume, failure_record: FailureRecord
) -> None:
    effect = "nothing: the next broker is stopped only when this one is in sync again"
    failure_record.begin("One broker of three is far behind after its restart", on="Kafka", effect=effect)
    brokers = make_brokers(THREE)
    volumes = [make_volume(300) for _ in range(3)]
    for number, volume in enumerate(volumes):
        brokers.start(number, volume)
    for number in range(3):
        brokers.wait_until_ready(number)
    brokers.produce("booked", range(1000))
    # Broker 3, which is number 2 counted from 0, replicates at one kilobyte per second.
    brokers.tool(
        f"{CONFIGS} --entity-type brokers --entity-name 3 --add-config {THROTTLE}=1000 && "
        "./kafka-topics.sh --bootstrap-server $SERVER --create --topic lag --config "
        "'follower.replication.throttled.replicas=*'"
    )

    # A rolling update begins with the last broker, too.
    brokers.stop(2)
    brokers.produce("booked", range(1000, 2000))
    # Write more data than the first fetch returns, because that fetch isn't throttled
    # (replica.fetch.response.max.bytes).
    brokers.tool(
        "head -c 40M /dev/zero | tr '\\0' x | fold -w 1000 | "
        "./kafka-console-producer.sh --bootstrap-server $SERVER --topic lag --producer-property acks=all"
    )
    brokers.start(2, volumes[2])
    until("the probe names the replicas that aren't in sync", lambda: "not in sync with" in brokers.probe(2)[1])
    assert under_replicated(brokers) != []
    brokers.tool(f"{CONFIGS} --entity-type brokers --entity-name 3 --delete-config {THROTTLE}")
    brokers.wait_until_ready(2)
    assert under_replicated(brokers) == []

    brokers.stop(1)
    brokers.produce("booked", range(2000, 3000))
    assert brokers.consume("booked", 3000) == [*range(3000)]
    failure_record.set_lost("nothing: 3000 of 3000 events")


def test_two_empty_brokers_form_no_quorum_beside_a_volume_with_data(
    make_brokers: MakeBrokers, make_volume: MakeVolume, failure_record: FailureRecord
) -> None:
    effect = "the brokers don't start; their logs name the setting to restore"
    failure_record.begin("One broker becomes three without the documented steps", on="Kafka", effect=effect)
    brokers = make_brokers(ONE)
    kept, *empty = (make_volume(200) for _ in range(3))
    brokers.start(0, kept)
    brokers.wait_until_ready(0)
    brokers.produce("kept", range(500))
    brokers.stop(0)

    brokers.configure(THREE)
    for number, volume in enumerate(empty, start=1):
        brokers.start(number, volume)
        brokers.wait_for_log(number, "waiting for kafka-0.kafka-peers")
    brokers.start(0, kept)
    assert "Set kafka.brokers back" in brokers.wait_until_ended(0)
    brokers.remove(0)
    assert not any((volume / "logs" / "meta.properties").exists() for volume in empty)

    brokers.configure(ONE)
    brokers.start(0, kept)
    brokers.wait_until_ready(0)
    assert brokers.consume("kept", 500) == [*range(500)]
    failure_record.set_lost("nothing: 500 of 500 events")
