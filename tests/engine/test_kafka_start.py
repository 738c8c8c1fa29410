"""The brokers' start script, in their image, on volumes like those in a cluster."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from settings.stores.kafka import KafkaSettings
from tests.engine.conftest import MakeBrokers, MakeVolume
from tests.engine.kafka_brokers import Brokers
from tests.failures import FailureRecord

MARKER = ".pti-calendar-data"
SCRATCH = "/tmp/kafka"  # noqa: S108 - of the container


@pytest.fixture
def volume(make_volume: MakeVolume) -> Path:
    """A newly created ext4 file system."""
    return make_volume(400)


@pytest.fixture
def brokers(make_brokers: MakeBrokers) -> Brokers:
    """The brokers, not started."""
    return make_brokers(KafkaSettings(mode="kraft", storage_gib=1))


def move_to_root(volume: Path) -> None:
    """Put the data where earlier releases stored it, without a marker."""
    for path in (volume / "logs").iterdir():
        path.rename(volume / path.name)
    (volume / "logs").rmdir()
    (volume / MARKER).unlink()


def test_data_in_the_root_of_a_volume_is_moved_completely(
    brokers: Brokers, volume: Path, failure_record: FailureRecord
) -> None:
    effect = "nothing: the next start completes it"
    failure_record.begin("A start that moves a broker's data is killed", on="Kafka", effect=effect)
    brokers.start(0, volume)
    brokers.wait_until_ready(0)
    brokers.produce("moved", range(100))
    brokers.stop(0)
    move_to_root(volume)
    # The state after an interrupted move.
    (volume / "logs").mkdir()
    shutil.chown(volume / "logs", 1000, 1000)
    (volume / "moved-0").rename(volume / "logs" / "moved-0")

    with failure_record.measure_recovery():
        brokers.start(0, volume)
        brokers.wait_until_ready(0)

    assert {path.name for path in volume.iterdir()} == {"lost+found", "logs", MARKER}
    assert brokers.consume("moved", 100) == [*range(100)]
    failure_record.set_lost("nothing: 100 of 100 events")


class TestRefusedVolumes:
    @pytest.fixture
    def kept(self, brokers: Brokers, volume: Path) -> Path:
        """A volume on which a single broker has run and stopped."""
        brokers.start(0, volume)
        brokers.wait_until_ready(0)
        brokers.stop(0)
        assert (volume / MARKER).read_text() == "kafka mode=kraft brokers=1\n"
        return volume

    def test_a_volume_of_another_broker_count_is_refused(self, brokers: Brokers, kept: Path) -> None:
        brokers.configure(KafkaSettings(mode="kraft", brokers=3, storage_gib=1))
        brokers.start(0, kept)
        log = brokers.wait_until_ended(0)
        assert "'kafka mode=kraft brokers=1', but the settings have 'brokers=3'" in log
        assert "docs/stores.md#another-number-of-brokers" in log

    def test_a_volume_of_another_broker_count_without_a_marker_is_refused(self, brokers: Brokers, kept: Path) -> None:
        move_to_root(kept)
        brokers.configure(KafkaSettings(mode="kraft", brokers=3, storage_gib=1))
        brokers.start(0, kept)
        assert "a quorum of 1, but the settings have brokers=3" in brokers.wait_until_ended(0)

    def test_a_volume_that_has_lost_its_data_is_refused(
        self, brokers: Brokers, kept: Path, failure_record: FailureRecord
    ) -> None:
        effect = "it doesn't start; its log describes how to start empty"
        failure_record.begin("A broker's volume has lost its data", on="Kafka", effect=effect)
        shutil.rmtree(kept / "logs")
        brokers.start(0, kept)
        assert "contained the data of 'kafka mode=kraft brokers=1'" in brokers.wait_until_ended(0)
        assert [*(kept / "logs").iterdir()] == []
        failure_record.set_lost("nothing more: no empty log replaces the data")

    def test_a_volume_with_two_versions_of_the_data_is_refused(self, brokers: Brokers, kept: Path) -> None:
        (kept / "meta.properties").write_text("of an earlier release")
        brokers.start(0, kept)
        assert "meta.properties" in brokers.wait_until_ended(0)
        assert (kept / "meta.properties").read_text() == "of an earlier release"


def test_a_cluster_id_that_looks_like_an_option_is_accepted(brokers: Brokers, volume: Path) -> None:
    """One cluster ID in 64 begins with a hyphen, because IDs are hashes of the stack's name."""
    brokers.environment["CLUSTER_ID"] = "-AAAAAAAAAAAAAAAAAAAAA"
    brokers.start(0, volume)
    brokers.wait_until_ready(0)
    assert "cluster.id=-AAAAAAAAAAAAAAAAAAAAA" in (volume / "logs" / "meta.properties").read_text()


class TestScratch:
    def test_no_file_in_a_brokers_scratch_space_grows(self, brokers: Brokers, volume: Path) -> None:
        brokers.start(0, volume)
        brokers.wait_until_ready(0)
        files = brokers.inside(0, "find", str(Path(SCRATCH).parent), "-type", "f").split()
        known = ("in-sync", "layout", "logs/recovery.log", "server.properties")
        assert {*files} == {f"{SCRATCH}/{name}" for name in known}

    def test_full_scratch_space_fails_the_probe_with_the_largest_files(
        self, brokers: Brokers, volume: Path, failure_record: FailureRecord
    ) -> None:
        effect = "it isn't ready; the probe prints what fills the space"
        failure_record.begin("A broker's scratch space is full", on="Kafka", effect=effect)
        brokers.start(0, volume)
        brokers.wait_until_ready(0)
        brokers.inside(0, "bash", "-c", f"cat /dev/zero >{SCRATCH}/java/full || true")
        ready, printed = brokers.probe(0)
        assert not ready
        assert f"no space left in {SCRATCH}" in printed
        assert f"{SCRATCH}/java" in printed

        # In a pod, the directory survives a restart of the container.
        with failure_record.measure_recovery():
            brokers.inside(0, "rm", f"{SCRATCH}/java/full")
            brokers.wait_until_ready(0)
        brokers.produce("compressed", range(10), "zstd")
        brokers.produce("compressed", range(10, 20), "snappy")
        assert brokers.consume("compressed", 20) == [*range(20)]
        failure_record.set_lost("nothing")
