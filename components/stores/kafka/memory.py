"""Divides the memory of a Java server, by the size of its heap (docs/stores.md)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class JavaMemory:
    """The parts of a Java server's memory, each limited by a JVM option or by the mount's size."""

    heap_mib: int
    metaspace_mib: int
    code_cache_mib: int
    direct_mib: int
    """Buffers outside the heap. Java's default is the size of the heap."""

    threads_mib: int
    """Thread stacks, of which Java uses a small part, and the C library's allocations."""

    scratch_mib: int
    """Writable directories in memory."""

    page_cache_mib: int = 0
    """Page cache that the kernel can keep without reclaiming pages of the process."""

    @property
    def limit_mib(self) -> int:
        """Return the container's memory limit."""
        collector_mib = self.heap_mib // 8
        parts = (
            *(self.heap_mib, collector_mib, self.metaspace_mib, self.code_cache_mib, self.direct_mib),
            *(self.threads_mib, self.scratch_mib, self.page_cache_mib),
        )
        return sum(parts)

    @property
    def options(self) -> str:
        """Return the JVM options that limit the parts outside the heap."""
        return (
            f"-XX:MaxMetaspaceSize={self.metaspace_mib}m -XX:ReservedCodeCacheSize={self.code_cache_mib}m "
            f"-XX:MaxDirectMemorySize={self.direct_mib}m"
        )


BROKER_SCRATCH_MIB = 32
IMAGE_VOLUMES = ("/etc/kafka/secrets", "/mnt/shared/config")
"""Directories that Kafka's image declares as volumes, and that stay empty; 1 MiB each."""


def broker_memory(heap_mib: int) -> JavaMemory:
    """Return the memory of a Kafka broker."""
    return JavaMemory(
        heap_mib=heap_mib,
        metaspace_mib=96,
        code_cache_mib=64,
        direct_mib=64,
        threads_mib=48,
        scratch_mib=BROKER_SCRATCH_MIB + len(IMAGE_VOLUMES),
        # Events are written to the page cache and read back from there.
        page_cache_mib=max(64, heap_mib // 4),
    )


ZOOKEEPER_SCRATCH_MIB = 16


def zookeeper_memory(heap_mib: int) -> JavaMemory:
    """Return the memory of a ZooKeeper server, whose requests are at most 1 MiB (`jute.maxbuffer`)."""
    return JavaMemory(
        heap_mib=heap_mib,
        metaspace_mib=48,
        code_cache_mib=32,
        direct_mib=16,
        threads_mib=32,
        scratch_mib=2 * ZOOKEEPER_SCRATCH_MIB,
    )
