"""Divides a broker's volume, so that events can't fill it (docs/stores.md)."""

from __future__ import annotations

from dataclasses import dataclass

from settings.stores.kafka import EVENTS_SHARE, KafkaSettings

MIB = 1024 * 1024

INTERNAL_PARTITIONS = 5
"""Partitions of each internal topic. A few brokers don't need the default of 50."""

INTERNAL_SHARE = 0.1
METADATA_SHARE = 0.02


@dataclass(frozen=True, kw_only=True)
class Retention:
    """How a broker divides its volume among logs."""

    segment_bytes: int
    """Size of a log segment; the broker deletes whole segments."""

    partition_bytes: int
    """`log.retention.bytes`. A partition uses up to one more segment, plus the data written until the next check."""

    internal_segment_bytes: int
    metadata_segment_bytes: int
    metadata_bytes: int

    @property
    def properties(self) -> dict[str, str]:
        """Return the broker's properties."""
        sizes = {
            "log.segment.bytes": self.segment_bytes,
            "log.retention.bytes": self.partition_bytes,
            "offsets.topic.segment.bytes": self.internal_segment_bytes,
            "transaction.state.log.segment.bytes": self.internal_segment_bytes,
        }
        return {
            **{name: str(size) for name, size in sizes.items()},
            "log.retention.check.interval.ms": "60000",
            "offsets.topic.num.partitions": str(INTERNAL_PARTITIONS),
            "transaction.state.log.num.partitions": str(INTERNAL_PARTITIONS),
        }

    @property
    def metadata_properties(self) -> dict[str, str]:
        """Return the properties of a broker's KRaft metadata log."""
        return {
            "metadata.log.segment.bytes": str(self.metadata_segment_bytes),
            "metadata.max.retention.bytes": str(self.metadata_bytes),
        }


def retention(settings: KafkaSettings) -> Retention:
    """Return the sizes: 60 % of the volume for `topics` x `partitions` partitions of events, 10 % for internal topics,
    2 % for metadata.

    The rest is for indexes, for data written between two size checks, and for the margin below the alert.
    """
    volume = settings.storage_gib * 1024 * MIB
    share = int(volume * EVENTS_SHARE / settings.partitions_per_broker)
    segment = min(1024 * MIB, share // 4)
    internal_share = int(volume * INTERNAL_SHARE / (2 * INTERNAL_PARTITIONS))
    metadata = min(100 * MIB, int(volume * METADATA_SHARE))
    return Retention(
        segment_bytes=segment,
        # One segment is being written, and one is waiting for deletion.
        partition_bytes=share - 2 * segment,
        internal_segment_bytes=min(100 * MIB, internal_share // 4),
        metadata_segment_bytes=max(8 * MIB, metadata // 2),
        metadata_bytes=metadata,
    )
