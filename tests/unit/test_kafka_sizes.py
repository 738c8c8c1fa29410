"""Limits derived from Kafka's heap and its volume's size; every valid combination fits."""

from __future__ import annotations

import itertools
import re
from typing import Literal

import pytest

from components.stores.kafka.broker import broker
from components.stores.kafka.properties import properties
from components.stores.kafka.retention import INTERNAL_PARTITIONS, MIB, retention
from components.stores.kafka.zookeeper import zookeeper
from settings.stores.kafka import KafkaSettings, ZooKeeperSettings
from tests.unit.mistakes import assert_refused, refused_keys
from workloads import Workload

HEAPS = [*range(192, 2048, 7), *range(2048, 65_536, 1021)]
VOLUMES = [1, 2, 3, 5, 10, 50, 100, 1000, 65_536]


def bounded_mib(workload: Workload, options: str) -> int:
    """Return the memory that options and mounts allow the process, including an eighth of the heap for the garbage
    collector."""
    sizes = {
        name: int(size)
        for name, size in re.findall(r"-(?:XX:)?(Xmx|Max\w+Size=|ReservedCodeCacheSize=)(\d+)m", options)
    }
    assert len(sizes) == 4, sizes
    return sum(sizes.values()) + sizes["Xmx"] // 8 + sum(one.size_mib for one in workload.scratch)


@pytest.mark.parametrize("brokers", [1, 3])
def test_a_broker_with_any_heap_fits_into_its_memory_limit(brokers: Literal[1, 3]) -> None:
    for heap in HEAPS:
        workload = broker(
            KafkaSettings(mode="kraft", heap_mib=heap, brokers=brokers), published="localhost:1", cluster="test"
        )
        environment = workload.environment
        options = f"{environment['KAFKA_HEAP_OPTS']} {environment['KAFKA_JVM_PERFORMANCE_OPTS']}"
        # 48 MiB for threads, and a quarter of the heap for the page cache.
        assert bounded_mib(workload, options) + 48 + max(64, heap // 4) <= workload.memory_mib


def test_zookeeper_with_any_heap_fits_into_its_memory_limit() -> None:
    for heap in HEAPS:
        workload = zookeeper(ZooKeeperSettings(heap_mib=heap))
        environment = workload.environment
        options = f"-Xmx{environment['ZK_SERVER_HEAP']}m {environment['SERVER_JVMFLAGS']}"
        assert bounded_mib(workload, options) + 32 <= workload.memory_mib


class TestRetention:
    @pytest.mark.parametrize(("gib", "brokers"), [*itertools.product(VOLUMES, (1, 3, 5))])
    def test_all_partitions_together_stay_below_three_quarters_of_the_volume(
        self, gib: int, brokers: Literal[1, 3, 5]
    ) -> None:
        settings = KafkaSettings(mode="kraft", storage_gib=gib, brokers=brokers)
        sizes = retention(settings)
        # A partition needs its retention limit, the active segment, and a segment whose deletion is pending for a
        # minute.
        events = settings.partitions_per_broker * (sizes.partition_bytes + 2 * sizes.segment_bytes)
        internal = 2 * INTERNAL_PARTITIONS * 4 * sizes.internal_segment_bytes
        assert events + internal + sizes.metadata_bytes <= 0.75 * gib * 1024 * MIB

    @pytest.mark.parametrize("gib", VOLUMES)
    def test_a_segment_holds_the_largest_batch_of_events(self, gib: int) -> None:
        fits = int(gib * 1024 * 0.6 / 8 / 6)
        for topics in {1, min(fits, 10_000)}:
            sizes = retention(KafkaSettings(mode="kraft", storage_gib=gib, expected_topics=topics))
            assert 2 * MIB <= sizes.segment_bytes <= 1024 * MIB
            assert sizes.internal_segment_bytes >= 2 * MIB
            assert sizes.partition_bytes >= 2 * sizes.segment_bytes
            # Kafka's own lower bound.
            assert sizes.metadata_segment_bytes >= 8 * MIB

    def test_the_retention_settings_reach_the_broker(self) -> None:
        found = properties(KafkaSettings(mode="kraft", storage_gib=50), published="localhost:9092")
        # Half of 1/72 of 60 % of 50 GiB.
        assert int(found["log.retention.bytes"]) // MIB == 213
        assert int(found["log.segment.bytes"]) // MIB == 106
        assert found["num.partitions"] == "6"
        assert int(found["metadata.max.retention.bytes"]) == 100 * MIB

    def test_five_brokers_share_the_three_replicas_of_each_partition(self) -> None:
        assert KafkaSettings(mode="kraft", brokers=5, expected_topics=10, partitions=1).partitions_per_broker == 6

    def test_more_topics_than_fit_are_refused(self) -> None:
        rule = ("storageGib 1 and partitions 6", "8 MiB", "'pti-calendar:kafka.expectedTopics' 12 (or less)")
        assert_refused(refused_keys({"kafka": {"storageGib": 1, "expectedTopics": 13}}), {"kafka.expectedTopics": rule})
